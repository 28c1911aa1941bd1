package dbpooltest_test

import (
	"context"
	"database/sql"
	"fmt"

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
