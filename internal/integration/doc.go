// Package integration holds the packages of this repository against the peers
// that they meet in production: PostgreSQL, MariaDB, PgBouncer, nginx, HAProxy and curl, as
// Debian packages them. It has no code of its own, and it is a module of its own, so
// that nobody who imports a package inherits a database driver.
//
//	apt-get install postgresql pgbouncer nginx haproxy curl iproute2 nftables
//	go -C internal/integration test -v ./...
//
// Each test starts what it needs in a private directory and on a free port of
// the loopback interface, as an ordinary user, and stops it before it ends. A
// service that is not installed skips its tests, unless the environment variable
// CONNHYGIENE_SERVICES is "required": then it fails them. Tests run on Linux only.
//
// Tests of silent deaths run in a lab: a network namespace in which packets vanish,
// made by inLab for the one test, which needs root or user namespaces.
//
// The machine that runs them is shared and noisy. So every bound is a ratio of two
// figures of one run, both are logged, and a comparison that fails is measured
// again before it counts. With -short these comparisons are skipped.
package integration
