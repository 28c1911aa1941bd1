// Package dbpool configures connection pools of database/sql: how many connections a
// pool may have, how it opens them without a thundering herd of logins, and how it
// notices that connections are dead or lead to the wrong server. It works with any
// driver, and hands out the driver's own connections.
//
//	connector, err := dbpool.DSN("pgx", os.Getenv("DATABASE_URL"))
//	if err != nil {
//		return err
//	}
//	db, err := dbpool.Open(connector, dbpool.Server(20)) // a *sql.DB with at most 20 connections
//
// Open dials through a [Connector]. A program that exports its counters makes the
// Connector itself, by [NewConnector], and hands it to Open.
//
// By itself, a pool of database/sql opens any number of connections, all at once, keeps
// two of them when they are idle (which causes connection churn), and gives a dial up
// when its caller has left. Each of these has caused outages: a
// restart of the server becomes hundreds of logins in one second, the server is full,
// queries exceed their deadlines, and the logins begin again.
//
// # The pool
//
//   - [Open] opens a pool. [Config] is its size and the life of its connections;
//     [Server], [AuthPath], [PgBouncer], [Agent] and [Lambda] return settings for
//     common cases, and [Config.Apply] sets them on a pool that exists.
//   - [Connector] dials for a pool, as [Dial] says: a few dials at the same time, and
//     one at a time, with exponential backoff and jitter, while the server is away.
//     [Connector.Flush] ends all connections after a failover; see [ReadOnly].
//   - [DSN], [Rotating] and [OnConnect] make the connectors below a Connector: from a
//     driver's name, with credentials that change, and with sessions that are set up.
//   - [Dialer] and [TCP] notice peers that vanish without a word; [Suspect] is for
//     drivers that cannot use them.
//   - [Warm] opens connections in advance. [Acquire] limits the wait for a connection.
//
// # The size
//
//   - [ServerBudget] asks a server for its limit, and a [Budget] divides it among
//     processes and pools, so that the sum stays below it: [Budget.PerProcess] for one
//     pool, [Budget.Split] for several, [Budget.PerTenant] for a pooler.
//   - [ForLoad] computes how many connections a load needs.
//
// # The diagnosis
//
//   - [Snap] takes a [Snapshot] of a pool's counters, the difference of two is a [Churn],
//     and [Advise] returns the settings to change.
//
// # Dialing
//
// A dial outlives its caller. If the caller's context ends, the dial goes on, for at
// most Dial.Timeout, and its connection goes to the next caller; one that no caller takes
// for 30 seconds is closed. A limit on parallel dials needs this. With the limit alone and
// 60 ms for each caller, a cold PostgreSQL served no query in any of five runs; plain
// database/sql served 1327 a second, and limit and adoption together 6963.
// golang/go#57248 asks for the limit, and jackc/pgx#1259 met the rest.
//
// After a failed dial, and only then, there is a wait: exponential backoff with jitter.
// One dial at a time tries the server, and callers wait until it succeeds or
// their own time is over; their error then tells of both. In the second of a restart
// PostgreSQL saw 385 dials from database/sql and 10 with a limit on their rate. A limit
// that is not tied to failures makes each cold start slow as well.
//
// The pool and its connector together have at most MaxOpen + Parallel connections.
//
// # Silent deaths and failover
//
// A host that loses its power, or a NAT that forgets a connection, sends no word of it.
// Of 16 idle connections to such a peer, database/sql fails 16 queries, one after the
// other, each at its deadline. With a [Dialer] one query fails, and none if the silence
// was longer than the 30 seconds that keep-alive probes take.
//
// After a failover all connections may lead to a server that takes no writes any more.
// The pool does not know: call [Connector.Flush] when [ReadOnly] says so. A pool that has
// to follow a failover wants a Dial.Backoff with a Max of a second or so, and a data
// source name with all servers (target_session_attrs=read-write of pgx and lib/pq).
//
// # Limits
//
// It adds nothing to a query, and never wraps a driver's connection: [sql.Conn.Raw]
// yields the type that the driver documents. So all connections of a pool have the same
// MaxLifetime, and there are no stack traces of callers that hold one for too long.
//
// Database/sql serves callers that wait for a connection in random order
// (golang/go#31708), and opens connections for them one at a time; a package outside of
// it cannot change that. A caller that dials does not get a connection that becomes free
// meanwhile.
//
// A dial that hangs counts as one of Dial.Parallel until the Timeout: if the server may
// vanish without a word, set a Timeout of a few seconds.
//
// # Concurrency
//
// A Connector may be used by any number of goroutines; all other types are plain values. A
// Connector has a goroutine for each dial in progress and none otherwise; sql.DB.Close, which
// closes it, waits for them.
//
// # Expected behaviour of callers
//
// Give queries a context with a deadline, close rows, and hold no connection while
// waiting for something else: a pool with a limit makes others wait for it. Use one
// Connector for one pool: its limits and counters are those of one.
//
// # Testing
//
// [github.com/connhygiene/connhygiene/dbpool/dbpooltest] is a server in memory that
// counts, is full, refuses, hangs, dies and falls silent, and speaks the protocol of
// PostgreSQL. Everything works inside a testing/synctest bubble.
//
// # When not to use it
//
// Code for pgx alone is well served by pgxpool, which detaches dials too, though it dials
// as often; give it a Dialer, and a Budget for its size. For SQLite and other databases
// inside the process a Config is enough. Four setters by hand are as good as a Config, if
// all four are right, and nothing about dials: 200 callers dial a server that is away for
// a second 40,000 times, and a Connector twice (docs/BENCHMARKS.md).
package dbpool
