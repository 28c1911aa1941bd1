// Package connhygiene is the landing page of five small packages that keep
// connections healthy: between an agent and its server, between a server and
// its identity provider, between a pool and its database. It holds no code.
//
// When a server restarts, every agent loses its stream at once and comes back
// at once. Each return costs a lookup, each lookup a database connection;
// time-outs become retries, and retries time-outs. Each package cures one link
// of that chain and stands alone.
//
// # Use X when Y
//
//   - [github.com/connhygiene/connhygiene/backoff]: a client retries or reconnects,
//     alone or as one of thousands, or a server has to say "not now"
//   - [github.com/connhygiene/connhygiene/ttlcache]: a server asks an identity
//     provider about credentials, and must survive floods and outages
//   - [github.com/connhygiene/connhygiene/transport]: an HTTP client should keep
//     its connections, and notice the dead ones
//   - [github.com/connhygiene/connhygiene/listener]: a server limits logins, opens
//     when it is ready, and drains before it stops
//   - [github.com/connhygiene/connhygiene/dbpool]: a pool of database/sql should
//     neither thrash nor overload its server
//
// Fixtures for tests of your own are in listener/listenertest,
// transport/transporttest, dbpool/dbpooltest and ttlcache/ttlcachetest. They work
// inside a testing/synctest bubble, and so do the packages, since they know no
// clock but package time.
//
// # The storm
//
// The command examples/storm plays the incident on one machine, before and
// after, with real TCP, net/http and database/sql:
//
//	go run github.com/connhygiene/connhygiene/examples/storm@latest
package connhygiene
