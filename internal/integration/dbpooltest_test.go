//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// eachDriver runs a test over the wire with lib/pq and pgx, as somebody's code would use
// them.
func eachDriver(t *testing.T, srv func() *dbpooltest.Server, test func(t *testing.T, srv *dbpooltest.Server, db *sql.DB)) {
	t.Helper()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			srv := srv()
			db, err := sql.Open(driver, srv.DSN(t))
			require.NoError(t, err)
			defer db.Close()
			test(t, srv, db)
		})
	}
}

// The usual ways to use a pool.
func TestWireAnswers(t *testing.T) {
	eachDriver(t, func() *dbpooltest.Server { return &dbpooltest.Server{MaxConns: 50} }, func(t *testing.T, srv *dbpooltest.Server, db *sql.DB) {
		require.NoError(t, db.PingContext(t.Context()))
		var one int
		require.NoError(t, db.QueryRow("select 1").Scan(&one))
		require.Equal(t, 1, one)
		one = 0
		require.NoError(t, db.QueryRow("select $1, $2, $3", "x", 7, nil).Scan(&one))
		require.Equal(t, 1, one)

		prepared, err := db.Prepare("select a from b where c = $1")
		require.NoError(t, err)
		for range 3 {
			one = 0
			require.NoError(t, prepared.QueryRow(7).Scan(&one))
			require.Equal(t, 1, one)
		}
		require.NoError(t, prepared.Close())

		result, err := db.Exec("insert into agents (name) values ('a;b')")
		require.NoError(t, err)
		n, err := result.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		result, err = db.Exec("update agents set name = $1", "c")
		require.NoError(t, err)
		n, err = result.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 1, n)

		tx, err := db.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("delete from agents")
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		tx, err = db.Begin()
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())

		connector, err := dbpool.DSN(map[bool]string{true: "pgx", false: "postgres"}[strings.Contains(t.Name(), "pgx")], srv.DSN(t))
		require.NoError(t, err)
		budget, err := dbpool.ServerBudget(t.Context(), connector)
		require.NoError(t, err)
		require.Equal(t, 50, budget.MaxConnections)
		require.LessOrEqual(t, srv.Stats().Opened, uint64(3))
	})
}

// Rows of all kinds, in text and in binary.
func TestWireCannedRows(t *testing.T) {
	born := time.Date(2026, 3, 1, 12, 30, 15, 123456000, time.UTC)
	canned := func() *dbpooltest.Server {
		return &dbpooltest.Server{Answer: func(query string) (*dbpooltest.Result, error) {
			switch {
			case strings.Contains(query, "from agents"):
				return &dbpooltest.Result{
					Columns: []string{"id", "name", "load", "up", "born", "key", "note"},
					Rows: [][]any{
						{7, "a", 1.5, true, born, []byte{0, 255}, nil},
						{int64(-8), "ü", -0.25, false, born.Add(-time.Hour), []byte{}, "x"},
					},
				}, nil
			case strings.Contains(query, "from nobody"):
				return &dbpooltest.Result{Columns: []string{"id"}}, nil
			case strings.HasPrefix(query, "delete"):
				return &dbpooltest.Result{Affected: 42}, nil
			}
			return nil, nil
		}}
	}
	eachDriver(t, canned, func(t *testing.T, srv *dbpooltest.Server, db *sql.DB) {
		for _, args := range [][]any{nil, {1}} {
			query := "select * from agents"
			if args != nil {
				query += " where id > $1"
			}
			rows, err := db.Query(query, args...)
			require.NoError(t, err)
			type agent struct {
				id   int
				name string
				load float64
				up   bool
				born time.Time
				key  []byte
				note sql.NullString
			}
			var got []agent
			for rows.Next() {
				var a agent
				require.NoError(t, rows.Scan(&a.id, &a.name, &a.load, &a.up, &a.born, &a.key, &a.note))
				a.born = a.born.UTC()
				got = append(got, a)
			}
			require.NoError(t, rows.Err())
			require.Equal(t, []agent{
				{7, "a", 1.5, true, born, []byte{0, 255}, sql.NullString{}},
				{-8, "ü", -0.25, false, born.Add(-time.Hour), []byte{}, sql.NullString{String: "x", Valid: true}},
			}, got)
		}
		require.ErrorIs(t, db.QueryRow("select id from nobody").Scan(new(int)), sql.ErrNoRows)
		require.ErrorIs(t, db.QueryRow("select id from nobody where id = $1", 1).Scan(new(int)), sql.ErrNoRows)
		result, err := db.Exec("delete from it")
		require.NoError(t, err)
		n, err := result.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 42, n)
	})
}

func TestWireErrors(t *testing.T) {
	failing := func() *dbpooltest.Server {
		return &dbpooltest.Server{Answer: func(query string) (*dbpooltest.Result, error) {
			if strings.HasPrefix(query, "insert") {
				return nil, &dbpooltest.Error{Code: "25006", Message: "cannot execute INSERT in a read-only transaction"}
			}
			return nil, nil
		}}
	}
	eachDriver(t, failing, func(t *testing.T, srv *dbpooltest.Server, db *sql.DB) {
		db.SetMaxOpenConns(1)
		_, err := db.Exec("insert into agents values (1)")
		require.Equal(t, "25006", sqlState(err), "%v", err)
		_, err = db.Exec("insert into agents values ($1)", 1)
		require.Equal(t, "25006", sqlState(err), "%v", err)
		require.NoError(t, db.Ping())

		tx, err := db.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("insert into agents values (1)")
		require.Equal(t, "25006", sqlState(err))
		_, err = tx.Exec("update agents set a = 1")
		require.Equal(t, "25P02", sqlState(err), "%v", err)
		require.NoError(t, tx.Rollback())
		require.NoError(t, db.Ping())
		require.EqualValues(t, 1, srv.Stats().Opened, "errors cost no connection")
	})
}

func TestWireLimits(t *testing.T) {
	eachDriver(t, func() *dbpooltest.Server { return &dbpooltest.Server{MaxConns: 1} }, func(t *testing.T, srv *dbpooltest.Server, db *sql.DB) {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		err = db.PingContext(t.Context())
		require.Equal(t, tooManyConnections, sqlState(err), "%v", err)
		require.NoError(t, conn.Close())
		require.NoError(t, db.PingContext(t.Context()))

		srv.Kill()
		srv.Refuse(true)
		require.Eventually(t, func() bool {
			return sqlState(db.PingContext(t.Context())) == "57P03"
		}, waitLimit, waitTick)
		srv.Refuse(false)
		require.Eventually(t, func() bool { return db.PingContext(t.Context()) == nil }, waitLimit, waitTick)
	})
}

func TestWireDeadlines(t *testing.T) {
	const long = 20 * time.Second
	eachDriver(t, func() *dbpooltest.Server { return &dbpooltest.Server{QueryTime: long} }, func(t *testing.T, srv *dbpooltest.Server, db *sql.DB) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		from := time.Now()
		_, err := db.ExecContext(ctx, "update agents set a = 1")
		require.Error(t, err)
		require.Less(t, time.Since(from), long/2, "canceled")
		require.Eventually(t, func() bool { return srv.Stats().Open == 0 }, waitLimit, waitTick, "the place is free")

		killed := make(chan error, 1)
		go func() {
			_, err := db.Exec("update agents set a = 1")
			killed <- err
		}()
		require.Eventually(t, func() bool { return srv.Stats().Queries == 2 }, waitLimit, waitTick)
		srv.Refuse(true) // lib/pq takes a FATAL error for a lost connection, upon which database/sql tries again
		srv.Kill()
		require.Contains(t, []string{"57P01", "57P03"}, sqlState(<-killed))
	})
}

func TestWireHangs(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			var srv dbpooltest.Server
			// lib/pq ignores the context of a login.
			connector, err := dbpool.DSN(driver, srv.DSN(t)+"&connect_timeout=1")
			require.NoError(t, err)
			srv.Hang(true)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err = connector.Connect(ctx)
			require.Error(t, err)
			require.Eventually(t, func() bool { return srv.Stats().Dialing == 0 }, waitLimit, waitTick)
			srv.Hang(false)
			conn, err := connector.Connect(t.Context())
			require.NoError(t, err)
			require.NoError(t, conn.Close())
		})
	}
}

func TestWirePgxpool(t *testing.T) {
	srv := &dbpooltest.Server{MaxConns: 3}
	pool, err := pgxpool.New(t.Context(), srv.DSN(t))
	require.NoError(t, err)
	defer pool.Close()
	for range 10 {
		var one int
		require.NoError(t, pool.QueryRow(t.Context(), "select $1::int", 1).Scan(&one))
		require.Equal(t, 1, one)
	}
	require.NoError(t, pool.Ping(t.Context()))
	batch := new(pgx.Batch)
	batch.Queue("select 1")
	batch.Queue("update agents set a = $1", 1)
	require.NoError(t, pool.SendBatch(t.Context(), batch).Close())
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "delete from agents")
		return err
	}))
	require.EqualValues(t, 1, srv.Stats().Opened)
}

// Code that names pgx works inside a bubble, and its hour takes no time.
func TestWireInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, QueryTime: time.Hour}
		cfg, err := pgx.ParseConfig("postgres://user@127.0.0.1/postgres?sslmode=disable")
		require.NoError(t, err)
		cfg.DialFunc = srv.Dial
		db := stdlib.OpenDB(*cfg)
		from := time.Now()
		_, err = db.Exec("update agents set a = $1", 1)
		require.NoError(t, err)
		require.Equal(t, time.Hour+8*time.Millisecond, time.Since(from))
		srv.Vanish()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = db.ExecContext(ctx, "update agents set a = 1")
		require.True(t, errors.Is(err, context.DeadlineExceeded), "%v", err)
		require.NoError(t, db.Close())
		time.Sleep(time.Minute) // pgx ends lost connections in the background
	})
}
