// Package dbpool keeps a pool of database/sql from thrashing and from storming its
// server: with settings that hold, with dials that are polite, and with an answer
// to the question how large a pool may be. It works with any driver and does not
// wrap the driver's connections.
package dbpool
