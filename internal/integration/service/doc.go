// Package service starts real servers for tests: PostgreSQL, MariaDB, PgBouncer, nginx,
// and the client curl.
//
// A server gets a directory of its own under [os.TempDir], a free port on
// 127.0.0.1, and an ordinary user if the test runs as root, since PostgreSQL and
// PgBouncer refuse to be root. It is ready when its Start function returns, and
// stopped, with its directory removed, when the test ends. Should the test process
// die without cleaning up, the kernel ends the server.
//
// Readiness is read from what a server says about itself, so nothing here sleeps
// or polls.
package service
