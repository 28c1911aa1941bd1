package dbpool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// The settings of any pool, also of one that others have opened.
func ExampleConfig() {
	db := sql.OpenDB(new(dbpooltest.Server).Connector())
	defer db.Close()
	cfg := dbpool.Config{MaxOpen: 50, MaxLifetime: time.Hour, MaxIdleTime: 10 * time.Minute}
	fmt.Println(cfg)
	fmt.Println(cfg.Apply(db), db.Stats().MaxOpenConnections)
	// Output:
	// open 50, idle 50, lifetime 45m0s to 1h0m0s, idle time 10m0s
	// <nil> 50
}

func ExampleConfig_Validate() {
	fmt.Println(dbpool.Config{MaxIdle: 20, Jitter: 1.5}.Validate())
	// Output:
	// dbpool: MaxOpen 0: must be at least 1; there is no unlimited pool
	// dbpool: MaxIdle 20: must not be above MaxOpen, which is 0
	// dbpool: Jitter 1.5: must be in [0,1)
}

func ExampleFieldError() {
	_, err := dbpool.Open(new(dbpooltest.Server).Connector(), dbpool.Config{})
	var wrong *dbpool.FieldError
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Field, wrong.Value)
	}
	// Output: MaxOpen 0
}

func ExampleServer() {
	fmt.Println(dbpool.Server(32))
	// Output: open 32, idle 32, lifetime 45m0s to 1h0m0s, idle time 10m0s
}

func ExampleAuthPath() {
	fmt.Println(dbpool.AuthPath(20))
	// Output: open 20, idle 20, lifetime 45m0s to 1h0m0s, idle time unlimited
}

func ExamplePgBouncer() {
	fmt.Println(dbpool.PgBouncer(20))
	// Output: open 20, idle 20, lifetime 3m45s to 5m0s, idle time 30s
}

func ExampleAgent() {
	fmt.Println(dbpool.Agent())
	// Output: open 2, idle 2, lifetime 45m0s to 1h0m0s, idle time 5m0s
}

func ExampleLambda() {
	fmt.Println(dbpool.Lambda())
	// Output: open 2, idle 2, lifetime 2m15s to 3m0s, idle time 1m0s
}

// A service starts: how much there is, how large the pools may be, and no query
// that has to wait for a dial.
func ExampleOpen() {
	ctx := context.Background()
	srv := &dbpooltest.Server{MaxConns: 100} // for the example; see DSN for a real one
	base := srv.Connector()

	budget, err := dbpool.ServerBudget(ctx, base)
	if err != nil {
		fmt.Println(err)
		return
	}
	budget.Reserved += 10 // for people
	budget.Replicas, budget.Surge, budget.Parallel = 3, 0.25, 2
	sizes, err := budget.Split(
		dbpool.Share{Name: "api", Weight: 3},
		dbpool.Share{Name: "agents", Weight: 2},
		dbpool.Share{Name: "internal", Max: 4},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	db, err := dbpool.Open(dbpool.NewConnector(base, dbpool.Dial{Parallel: 2}), dbpool.Server(sizes["api"]))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	n, err := dbpool.Warm(ctx, db, sizes["api"])
	fmt.Println(sizes, n, err)
	// Output: map[agents:5 api:8 internal:3] 8 <nil>
}

func ExampleNewConnector() {
	srv := new(dbpooltest.Server)
	c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 2, Timeout: 5 * time.Second})
	db, err := dbpool.Open(c, dbpool.Server(10))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	fmt.Println(db.Ping(), c.Stats().Opened)
	// Output: <nil> 1
}

// A server that starts: the first dial fails at once, and the next caller waits until
// another dial is due. If its deadline is earlier, its error tells of both.
func ExampleDial() {
	srv := new(dbpooltest.Server)
	srv.Refuse(true)
	c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{
		Backoff: backoff.Policy{Min: time.Second, Max: 10 * time.Second},
	})
	defer c.Close()
	_, err := c.Connect(context.Background())
	fmt.Println(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = c.Connect(ctx)
	fmt.Println(err)
	fmt.Println("dials:", srv.Stats().Refused)
	// Output:
	// dbpooltest: FATAL: the database system is starting up (SQLSTATE 57P03)
	// dbpool: no connection: context deadline exceeded; last dial: dbpooltest: FATAL: the database system is starting up (SQLSTATE 57P03)
	// dials: 1
}

// A caller leaves before its dial is through, and the next one gets the connection.
func ExampleConnector() {
	arrived, login := make(chan struct{}), make(chan struct{})
	srv := new(dbpooltest.Server)
	c := dbpool.NewConnector(dbpool.OnConnect(srv.Connector(), func(context.Context, driver.Conn) error {
		close(arrived)
		<-login // takes longer than the caller has time
		return nil
	}), dbpool.Dial{})
	defer c.Close()

	ctx, leave := context.WithCancel(context.Background())
	go func() {
		<-arrived
		leave()
	}()
	_, err := c.Connect(ctx)
	fmt.Println(err)
	close(login)
	conn, err := c.Connect(context.Background())
	fmt.Println(conn != nil, err)
	fmt.Println("dials:", srv.Stats().Opened)
	// Output:
	// dbpool: no connection: context canceled
	// true <nil>
	// dials: 1
}

func ExampleDialStats() {
	srv := &dbpooltest.Server{MaxConns: 1}
	c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
	defer c.Close()
	for range 2 {
		_, _ = c.Connect(context.Background())
	}
	stats := c.Stats()
	fmt.Printf("%d opened, %d failed, %d of them since the server was full\n", stats.Opened, stats.Failed, stats.Overloaded)
	// Output: 1 opened, 1 failed, 1 of them since the server was full
}

func ExampleDSN() {
	_, err := dbpool.DSN("pgx", "postgres://app@db/agents") // without import _ "github.com/jackc/pgx/v5/stdlib"
	var wrong *dbpool.FieldError
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Field, wrong.Value)
	}
	// Output: driverName pgx
}

// Credentials that change: each dial asks for those that are valid now.
func ExampleRotating() {
	srv := new(dbpooltest.Server)
	token := func(context.Context) (string, error) { return "from the vault", nil }

	base := srv.Connector()
	c := dbpool.Rotating(base.Driver(), func(ctx context.Context) (driver.Connector, error) {
		password, err := token(ctx)
		if err != nil {
			return nil, err
		}
		return base.Driver().(driver.DriverContext).OpenConnector("dbname=agents password=" + password)
	})
	db, err := dbpool.Open(c, dbpool.Server(10))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	fmt.Println(db.Ping())
	// Output: <nil>
}

// Each session is set up once, when its connection is new.
func ExampleOnConnect() {
	srv := new(dbpooltest.Server)
	c := dbpool.OnConnect(srv.Connector(), func(ctx context.Context, conn driver.Conn) error {
		_, err := conn.(driver.ExecerContext).ExecContext(ctx, "set statement_timeout = '5s'", nil)
		return err
	})
	db, err := dbpool.Open(c, dbpool.Server(10))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	fmt.Println(db.Ping(), db.Ping(), srv.Stats().Queries)
	// Output: <nil> <nil> 1
}

func ExampleWarm() {
	srv := new(dbpooltest.Server)
	db, err := dbpool.Open(srv.Connector(), dbpool.AuthPath(20))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	fmt.Println(dbpool.Warm(context.Background(), db, 20))
	fmt.Println(srv.Stats().Open)
	// Output:
	// 20 <nil>
	// 20
}

// A handler that has a millisecond for a connection, and all the time for its work.
func ExampleAcquire() {
	ctx := context.Background()
	db, err := dbpool.Open(new(dbpooltest.Server).Connector(), dbpool.Server(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	conn, err := dbpool.Acquire(ctx, db, time.Millisecond)
	if err != nil {
		fmt.Println(err) // a full pool: 503, and not 500
		return
	}
	defer conn.Close()
	_, err = conn.ExecContext(ctx, "update agents set seen = now()")
	fmt.Println(err)
	// Output: <nil>
}

func ExampleAcquireError() {
	ctx := context.Background()
	db, err := dbpool.Open(new(dbpooltest.Server).Connector(), dbpool.Server(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	conn, _ := dbpool.Acquire(ctx, db, 0)
	defer conn.Close()
	_, err = dbpool.Acquire(ctx, db, time.Millisecond)
	var full *dbpool.AcquireError
	if errors.As(err, &full) {
		fmt.Println(full.Stats.InUse, "of", full.Stats.MaxOpenConnections, "in use:", full.Err)
	}
	// Output: 1 of 1 in use: context deadline exceeded
}

// Four replicas of a service share a server of 50 connections.
func ExampleBudget() {
	b := dbpool.Budget{MaxConnections: 50, Reserved: 6, Replicas: 4, Parallel: 1}
	fmt.Println(b.PerProcess())
	b.Surge = 0.25 // a fifth one during a rollout
	fmt.Println(b.PerProcess())
	b.Replicas = 40
	_, err := b.PerProcess()
	fmt.Println(err)
	// Output:
	// 10 <nil>
	// 7 <nil>
	// dbpool: MaxConnections 50: less 6 reserved, over 50 processes, less 1 for dials leaves -1 connections where 1 are needed: each process's pool gets 0 of its Min 1
}

// Twenty tenants of a PgBouncer with max_db_connections = 30.
func ExampleBudget_PerTenant() {
	fmt.Println(dbpool.Budget{MaxConnections: 30}.PerTenant(20))
	fmt.Println(dbpool.Budget{MaxConnections: 50}.PerTenant(20))
	// Output:
	// 1.5 true
	// 2.5 false
}

// Internal work, the API and the agents have a pool each, so that a storm of agents
// takes no connections of the others.
func ExampleShare() {
	b := dbpool.Budget{MaxConnections: 100, Reserved: 8, Parallel: 2}
	fmt.Println(b.Split(
		dbpool.Share{Name: "internal", Min: 5, Max: 10},
		dbpool.Share{Name: "api", Weight: 2},
		dbpool.Share{Name: "agents", Weight: 5},
	))
	fmt.Println(b.Split(
		dbpool.Share{Name: "api", Min: 50, Max: 50},
		dbpool.Share{Name: "agents", Min: 50, Max: 50},
	))
	// Output:
	// map[agents:54 api:22 internal:10] <nil>
	// map[] dbpool: MaxConnections 100: less 8 reserved, over 1 processes, less 4 for dials leaves 88 connections where 100 are needed: api gets 50 of its Min 50, agents gets 38 of its Min 50
}

func ExampleServerBudget() {
	srv := &dbpooltest.Server{MaxConns: 200}
	b, err := dbpool.ServerBudget(context.Background(), srv.Connector())
	fmt.Println(b.MaxConnections, b.Reserved, err)
	// Output: 200 0 <nil>
}

// A thousand queries a second of 20 ms each, and 30 % for the times above average.
func ExampleForLoad() {
	fmt.Println(dbpool.ForLoad(1000, 20*time.Millisecond, 0.3))
	// Output: 26
}

// What a report of a minute says about a pool.
func ExampleSnap() {
	srv := new(dbpooltest.Server)
	c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
	db, err := dbpool.Open(c, dbpool.Server(5))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	before := dbpool.Snap(db, c)
	_ = db.Ping() // a minute passes
	churn := dbpool.Snap(db, c).Since(before)
	fmt.Println(churn.Opened, churn.PerSecond, dbpool.Advise(dbpool.Server(5), churn))
	// Output: 1 0 []
}

func ExampleSnapshot() {
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	before := dbpool.Snapshot{Time: from, DB: sql.DBStats{OpenConnections: 10}}
	after := dbpool.Snapshot{Time: from.Add(time.Minute), DB: sql.DBStats{OpenConnections: 12, MaxIdleClosed: 120}}
	churn := after.Since(before)
	fmt.Println(churn.Opened, "opened,", churn.PerSecond, "closed in a second")
	// Output: 122 opened, 2 closed in a second
}

func ExampleChurn() {
	churn := dbpool.Churn{Opened: 122, ClosedIdle: 120, PerSecond: 2, Window: time.Minute}
	fmt.Printf("%.0f %% of the connections were closed because few are kept\n",
		100*float64(churn.ClosedIdle)/float64(churn.Opened))
	// Output: 98 % of the connections were closed because few are kept
}

func ExampleAdvise() {
	cfg := dbpool.Config{MaxOpen: 32, MaxIdle: 2} // as database/sql keeps
	churn := dbpool.Churn{Opened: 122, ClosedIdle: 120, Window: time.Minute}
	for _, a := range dbpool.Advise(cfg, churn) {
		fmt.Println(a.Text)
	}
	// Output: 120 of 122 connections were closed because 2 were idle already: keep MaxOpen of them idle, and let MaxIdleTime shrink the pool
}

func ExampleAdvice() {
	cfg := dbpool.Config{MaxOpen: 32, MaxIdle: 2}
	for _, a := range dbpool.Advise(cfg, dbpool.Churn{Opened: 122, ClosedIdle: 120, Window: time.Minute}) {
		if a.Code == dbpool.IdleBelowOpen {
			fmt.Println(a.Field, "=", a.Suggest)
		}
	}
	// Output: MaxIdle = 32
}

// How a driver is made to dial so that silent deaths are noticed: here pgx's, or rather
// what its configuration has.
func ExampleDialer() {
	var cfg struct { // cfg, err := pgx.ParseConfig(dsn)
		DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)
	}
	cfg.DialFunc = dbpool.Dialer()
	// db, err := dbpool.Open(stdlib.GetConnector(*cfg), dbpool.Server(20))

	l, err := net.Listen("tcp", "127.0.0.1:0") // stands for the server
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	conn, err := cfg.DialFunc(context.Background(), "tcp", l.Addr().String())
	fmt.Println(err)
	fmt.Println(conn.Close())
	// Output:
	// <nil>
	// <nil>
}

// For lib/pq, whose queries wait beyond their deadlines for a server that is silent, and
// through a tunnel.
func ExampleTCP() {
	srv := new(dbpooltest.Server)
	dial := dbpool.TCP{UserTimeout: 5 * time.Second, Dial: srv.Dial}.Dialer()
	conn, err := dial(context.Background(), "tcp", "db.example.com:5432")
	fmt.Println(err)
	fmt.Println(conn.Close())
	// Output:
	// <nil>
	// <nil>
}

// After a failover all connections lead to a server that takes no writes any more.
func ExampleConnector_Flush() {
	ctx := context.Background()
	var promoted bool
	srv := &dbpooltest.Server{Answer: func(string) (*dbpooltest.Result, error) {
		if promoted {
			return nil, nil
		}
		return nil, &dbpooltest.Error{Code: "25006", Message: "cannot execute UPDATE in a read-only transaction"}
	}}
	c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
	db, err := dbpool.Open(c, dbpool.Server(20))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "update agents set seen = now()"); dbpool.ReadOnly(err) {
		c.Flush()
	}
	promoted = true // the next dial leads to another server
	_, err = db.ExecContext(ctx, "update agents set seen = now()")
	fmt.Println(err)
	// Output: <nil>
}

func ExampleReadOnly() {
	fmt.Println(dbpool.ReadOnly(&dbpooltest.Error{Code: "25006", Message: "cannot execute UPDATE in a read-only transaction"}))
	fmt.Println(dbpool.ReadOnly(errors.New("Error 1836 (HY000): Running in read-only mode")))
	fmt.Println(dbpool.ReadOnly(context.DeadlineExceeded))
	// Output:
	// true
	// true
	// false
}

// Any driver: a query has ended by its deadline, and the idle connections may be dead too.
func ExampleSuspect() {
	srv := new(dbpooltest.Server)
	db, err := dbpool.Open(srv.Connector(), dbpool.Server(4))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	_, err = dbpool.Warm(context.Background(), db, 4)
	fmt.Println(err, dbpool.Suspect(context.Background(), db), "dead")
	// Output: <nil> 0 dead
}
