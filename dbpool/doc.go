// Package dbpool is for pools of database/sql that neither thrash nor storm their
// server: settings that hold, dials that are polite, and an answer to the question
// how large a pool may be. It works with any driver, and hands out the driver's own
// connections.
//
//	db, err := dbpool.Open(connector, dbpool.Server(20))
//
// By itself, a pool of database/sql opens any number of connections, all at once,
// keeps two of them, and throws a dial away when its caller has left. Each of these
// has taken systems down: a restart becomes hundreds of logins in one second, the
// server is full, queries meet their deadlines, and so the logins begin again.
//
// # Usage
//
//   - A [Config] is the size of a pool and the life of its connections; [Server],
//     [AuthPath], [PgBouncer], [Agent] and [Lambda] are a start. [Config.Apply] sets
//     it on any pool, also on one that somebody else has opened.
//   - A [Connector] dials for a pool: [Dial].Parallel dials at once, one at a time
//     while the server is away. [Open] puts one in place.
//   - A [Budget] divides a server's connections among processes and pools, so that
//     the sum never is above the server's limit. [ServerBudget] asks the server,
//     [ForLoad] says how many a load needs.
//   - [Snap] and [Advise] say how a pool fares, and what to change.
//
// [DSN] makes a connector of a driver's name and a data source name, [Rotating] one
// whose credentials change, [OnConnect] one that sets up sessions. They are meant to
// stand below a Connector.
//
// # What a Connector does
//
// A caller who gives up does not take his dial with him. It goes on, for at most
// Dial.Timeout, and serves the next caller; a connection that nobody takes for 30
// seconds is closed. A limit on dials without this is worse than none: of callers
// with 60 ms each, a cold PostgreSQL served none in any of five runs, plain
// database/sql 1327 a second, and both together 6963. golang/go#57248 asks for the
// limit, and jackc/pgx#1259 met the rest.
//
// After a failed dial, and only then, there is a wait, which grows from failure to
// failure. One dial at a time probes the server; callers wait until it succeeds or
// their own time is over, and then learn of both. In the second of a restart
// PostgreSQL saw 385 dials from database/sql and 10 with a limit on their rate; a
// limit that is not tied to failures slows each cold start as well.
//
// The pool and its connector together have at most MaxOpen + Parallel connections.
//
// # What it does not do
//
// It is not on the path of a query, and never wraps a connection: [sql.Conn.Raw]
// yields what the driver documents. So it has no life of its own for each
// connection, and no stack traces of those who hold one for too long.
//
// Database/sql serves callers who wait for a connection in random order
// (golang/go#31708), and opens connections for them one at a time; nothing outside
// of it can change that. A caller who dials does not get a connection that becomes
// free meanwhile.
//
// Dials that hang hold their slots until the Timeout: a pool whose server may
// vanish without a word wants a Timeout of a few seconds.
//
// # Concurrency
//
// A Connector may be used by any number of goroutines; Config, Dial, Budget and what
// is reported are plain values. A Connector has a goroutine for each dial under way and
// none otherwise; sql.DB.Close, which closes it, waits for them.
//
// # Expected behaviour of callers
//
// Give queries a context with a deadline, close rows, and hold no connection while
// waiting for something else: a pool with a limit makes others wait for it. One
// Connector serves one pool, or its limits would be those of the pools together.
//
// # Testing
//
// [github.com/connhygiene/connhygiene/dbpool/dbpooltest] is a server in memory that
// counts, is full, refuses, hangs and dies. Everything works inside a
// testing/synctest bubble.
//
// # Compared with
//
// Four setters by hand do what Config does, if all four are right, and nothing about
// dials: 200 callers dial a server that is away for a second 40,000 times, and a
// Connector twice (docs/BENCHMARKS.md). Code for pgx alone is well served by pgxpool,
// which detaches dials too, though it dials as often; a Budget says how large it may
// be. For SQLite and other databases inside of the process there is nothing to be
// polite to: Config alone will do.
package dbpool
