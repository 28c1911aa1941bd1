//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// The recipes: how each driver is given a dial function.

func pgxOver(t *testing.T, dsn string, dial dialFunc) driver.Connector {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	if dial != nil {
		cfg.DialFunc = dial
	}
	return stdlib.GetConnector(*cfg)
}

func pqOver(t *testing.T, dsn string, dial dialFunc) driver.Connector {
	t.Helper()
	c, err := pq.NewConnector(dsn)
	require.NoError(t, err)
	if dial != nil {
		c.Dialer(pqDialer(dial))
	}
	return c
}

// pqDialer is a dial function as lib/pq wants it.
type pqDialer dialFunc

func (d pqDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d(ctx, network, addr)
}

func (d pqDialer) Dial(network, addr string) (net.Conn, error) {
	return d(context.Background(), network, addr)
}

func (d pqDialer) DialTimeout(network, addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d(ctx, network, addr)
}

func mysqlOver(t *testing.T, dsn string, dial dialFunc) driver.Connector {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	if dial != nil {
		cfg.DialFunc = dial
	}
	c, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	return c
}

const (
	silentIdle     = 16
	silentDeadline = time.Second // of each query
)

// inARow counts the queries that fail one after the other before one succeeds, at most
// all that fell silent and one more.
func inARow(t *testing.T, db *sql.DB) (failed int, took time.Duration) {
	t.Helper()
	return inARowOf(t, silentDeadline, func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "select 1")
		return err
	})
}

func inARowOf(t *testing.T, deadline time.Duration, query func(context.Context) error) (failed int, took time.Duration) {
	t.Helper()
	from := time.Now()
	for range silentIdle + 1 {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		err := query(ctx)
		cancel()
		if err == nil {
			return failed, time.Since(from)
		}
		failed++
	}
	return failed, time.Since(from)
}

// Sixteen idle connections fall silent. Of the next queries at most one fails, where
// database/sql fails all sixteen, one after the other.
func TestSilentConnectionsCostOneQuery(t *testing.T) {
	inLab(t, func(l *lab) {
		p := service.StartPostgres(t, 60)
		m := service.StartMariaDB(t, 60)
		// lib/pq waits for an answer even after the deadline of a query.
		patient := dbpool.TCP{UserTimeout: 2 * time.Second}.Dialer()
		for _, tc := range []struct {
			name  string
			addr  string
			query string
			plain driver.Connector
			ours  driver.Connector
		}{
			{"pgx", addrOf(p.Port), "select $1::int", pgxOver(t, p.DSN(), nil), pgxOver(t, p.DSN(), dbpool.Dialer())},
			{"mysql", addrOf(m.Port), "select ?", nil, mysqlOver(t, m.DSN(), dbpool.Dialer())},
			{"lib/pq", addrOf(p.Port), "select $1::int", nil, pqOver(t, p.DSN(), patient)},
		} {
			if tc.plain != nil {
				failed, took := afterSilence(t, l, tc.addr, sql.OpenDB(tc.plain), tc.query)
				t.Logf("%s, database/sql: %d queries fail in a row, %v", tc.name, failed, took.Round(time.Millisecond))
				require.GreaterOrEqual(t, failed, silentIdle, "the lab is silent")
			}
			db, err := dbpool.Open(tc.ours, dbpool.Server(silentIdle))
			require.NoError(t, err)
			failed, took := afterSilence(t, l, tc.addr, db, tc.query)
			t.Logf("%s, dbpool.Dialer: %d queries fail in a row, %v", tc.name, failed, took.Round(time.Millisecond))
			require.LessOrEqual(t, failed, 2, "one, unless the machine is slow")
		}
		for i := 0; i < 20 && goleak.Find() != nil; i++ { // pgx ends lost connections in the background, within 15 s
			pause(t.Context(), time.Second)
		}
	})
}

func addrOf(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// afterSilence fills a pool, uses its connections, silences them and counts.
func afterSilence(t *testing.T, l *lab, addr string, db *sql.DB, query string) (failed int, took time.Duration) {
	t.Helper()
	defer db.Close()
	require.NoError(t, dbpool.Server(silentIdle).Apply(db))
	useAll(t, db, query, silentIdle)
	pause(t.Context(), 250*time.Millisecond) // MySQL's driver has closed a statement, to which there is no answer
	l.vanish(addr)
	defer l.heal()
	return inARow(t, db)
}

// useAll runs a query with an argument over each of n connections.
func useAll(t *testing.T, db *sql.DB, query string, n int) {
	t.Helper()
	for range n {
		c, err := db.Conn(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.QueryRowContext(t.Context(), query, 1).Scan(new(int)))
		defer c.Close()
	}
}

// A pool that closes connections in a quiet time, one after the other, loses no other: a
// driver's farewell, and MySQL's command to close a statement, have no answer.
func TestClosesInAQuietTimeDropNothing(t *testing.T) {
	p := service.StartPostgres(t, 60)
	m := service.StartMariaDB(t, 60)
	for _, tc := range []struct {
		name, query string
		over        func(*testing.T, string, dialFunc) driver.Connector
		dsn         string
	}{
		{"pgx", "select $1::int", pgxOver, p.DSN()},
		{"lib/pq", "select $1::int", pqOver, p.DSN()},
		{"mysql", "select ?", mysqlOver, m.DSN()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var dials atomic.Int64
			dial := dbpool.TCP{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials.Add(1)
				return new(net.Dialer).DialContext(ctx, network, addr)
			}}.Dialer()
			db, err := dbpool.Open(tc.over(t, tc.dsn, dial), dbpool.Server(8))
			require.NoError(t, err)
			defer db.Close()
			useAll(t, db, tc.query, 8)
			for n := 7; n >= 4; n-- {
				pause(t.Context(), 300*time.Millisecond)
				db.SetMaxIdleConns(n)
			}
			before := dials.Load()
			useAll(t, db, tc.query, 4)
			require.Equal(t, before, dials.Load(), "connections to be dialed anew")
		})
	}
}

// After half a minute of silence the probes have found all of them, and no query fails.
func TestKeepAliveFindsSilentConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for half a minute")
	}
	inLab(t, func(l *lab) {
		p := service.StartPostgres(t, 60)
		db, err := dbpool.Open(pgxOver(t, p.DSN(), dbpool.Dialer()), dbpool.Server(silentIdle))
		require.NoError(t, err)
		defer db.Close()
		n, err := dbpool.Warm(t.Context(), db, silentIdle)
		require.NoError(t, err)
		require.Equal(t, silentIdle, n)
		l.vanish(addrOf(p.Port))
		pause(t.Context(), 32*time.Second)
		failed, took := inARow(t, db)
		t.Logf("%d queries fail in a row, %v", failed, took.Round(time.Millisecond))
		require.Zero(t, failed)
	})
}
