package dbpooltest_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// What database/sql does by default to a server with five places.
func ExampleServer() {
	srv := &dbpooltest.Server{MaxConns: 5}
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	var conns []*sql.Conn
	for {
		conn, err := db.Conn(context.Background())
		if err != nil {
			fmt.Println(err)
			break
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		_ = conn.Close() // two are kept
	}
	fmt.Printf("opened %d, closed %d\n", srv.Stats().Opened, srv.Stats().Closed)
	// Output:
	// dbpooltest: FATAL: sorry, too many clients already (SQLSTATE 53300)
	// opened 5, closed 3
}

func ExampleStats() {
	srv := new(dbpooltest.Server)
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	for range 3 {
		_, _ = db.Exec("update agents set seen = now()")
	}
	stats := srv.Stats()
	fmt.Printf("%d queries over %d connection\n", stats.Queries, stats.Opened)
	// Output: 3 queries over 1 connection
}

// What a query, a statement and a failure yield.
func ExampleResult() {
	srv := &dbpooltest.Server{Answer: func(query string) (*dbpooltest.Result, error) {
		switch query {
		case "select id, name from agents":
			return &dbpooltest.Result{Columns: []string{"id", "name"}, Rows: [][]any{{1, "a"}, {2, "b"}}}, nil
		case "delete from agents":
			return &dbpooltest.Result{Affected: 2}, nil
		}
		return nil, nil // the default answer
	}}
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	rows, err := db.Query("select id, name from agents")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		var name string
		fmt.Println(rows.Scan(&id, &name), id, name)
	}
	// Output:
	// <nil> 1 a
	// <nil> 2 b
}

// A primary that has become a standby.
func ExampleError() {
	srv := &dbpooltest.Server{Answer: func(string) (*dbpooltest.Result, error) {
		return nil, &dbpooltest.Error{Code: "25006", Message: "cannot execute INSERT in a read-only transaction"}
	}}
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	_, err := db.Exec("insert into agents values (1)")
	fmt.Println(err)
	// Output: dbpooltest: ERROR: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)
}

// The server's machine is lost: its connections are silent, and new ones work.
func ExampleServer_Vanish() {
	srv := new(dbpooltest.Server)
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	fmt.Println(db.Ping())
	srv.Vanish()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(db.PingContext(ctx))
	fmt.Println(db.Ping())
	// Output:
	// <nil>
	// context deadline exceeded
	// <nil>
}

// Code that opens its pool by name is tested as it is.
func ExampleServer_DSN() {
	test := func(t testing.TB) {
		srv := &dbpooltest.Server{MaxConns: 20}
		dsn := srv.DSN(t)
		// db, err := sql.Open("postgres", dsn) // or "pgx"
		fmt.Println(dsn[:len("postgres://user:password@127.0.0.1:")])
	}
	testing.Benchmark(func(b *testing.B) { // stands for go test
		if b.N == 1 {
			test(b)
		}
	})
	// Output: postgres://user:password@127.0.0.1:
}

// A driver that lets its caller dial, such as pgx with Config.DialFunc.
func ExampleServer_Dial() {
	srv := new(dbpooltest.Server)
	conn, err := srv.Dial(context.Background(), "tcp", "db.example.com:5432")
	fmt.Println(err)
	fmt.Println(conn.Close())
	// Output:
	// <nil>
	// <nil>
}
