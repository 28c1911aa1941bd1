package bench_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

const (
	connectTime = 8 * time.Millisecond // of PostgreSQL, with scram on loopback
	queryTime   = 3 * time.Millisecond
)

// A pool is a pool in use.
type pooled struct {
	server *dbpooltest.Server
	query  func(context.Context) error
	close  func()
}

// A pooler makes a pool of up to n connections, to a server of its own.
type pooler struct {
	name string
	new  func(t testing.TB, n int, connectTime, queryTime time.Duration) pooled
}

var poolers = []pooler{
	{"ours", func(t testing.TB, n int, connectTime, queryTime time.Duration) pooled {
		srv := &dbpooltest.Server{ConnectTime: connectTime, QueryTime: queryTime}
		db, err := dbpool.Open(srv.Connector(), dbpool.Server(n))
		require.NoError(t, err)
		return sqlPool(srv, db)
	}},
	{"database/sql", func(_ testing.TB, n int, connectTime, queryTime time.Duration) pooled {
		srv := &dbpooltest.Server{ConnectTime: connectTime, QueryTime: queryTime}
		db := sql.OpenDB(srv.Connector())
		db.SetMaxOpenConns(n) // and two idle, which is the default
		return sqlPool(srv, db)
	}},
	{"database/sql, idle = open", func(_ testing.TB, n int, connectTime, queryTime time.Duration) pooled {
		srv := &dbpooltest.Server{ConnectTime: connectTime, QueryTime: queryTime}
		db := sql.OpenDB(srv.Connector())
		db.SetMaxOpenConns(n)
		db.SetMaxIdleConns(n)
		return sqlPool(srv, db)
	}},
	{"pgxpool", func(t testing.TB, n int, connectTime, queryTime time.Duration) pooled {
		srv := &dbpooltest.Server{ConnectTime: connectTime, QueryTime: queryTime}
		cfg, err := pgxpool.ParseConfig(fmt.Sprintf("host=server user=agent sslmode=disable default_query_exec_mode=simple_protocol pool_max_conns=%d", n))
		require.NoError(t, err)
		cfg.ConnConfig.DialFunc = srv.Dial
		cfg.ConnConfig.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"server"}, nil }
		db, err := pgxpool.NewWithConfig(t.Context(), cfg)
		require.NoError(t, err)
		query := func(ctx context.Context) error {
			_, err := db.Exec(ctx, "update")
			return err
		}
		return pooled{srv, query, db.Close}
	}},
}

func sqlPool(srv *dbpooltest.Server, db *sql.DB) pooled {
	query := func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "update")
		return err
	}
	return pooled{srv, query, func() { _ = db.Close() }}
}

// BenchmarkQuery is a query on a server that takes no time, by pools with the same
// settings. pgxpool is not in it: its queries go over a connection, these do not.
func BenchmarkQuery(b *testing.B) {
	for _, lib := range turned([]struct {
		name string
		open func(*dbpooltest.Server) (*sql.DB, error)
	}{
		{"ours", func(srv *dbpooltest.Server) (*sql.DB, error) {
			return dbpool.Open(srv.Connector(), dbpool.Server(4))
		}},
		{"plain", func(srv *dbpooltest.Server) (*sql.DB, error) {
			db := sql.OpenDB(srv.Connector())
			return db, dbpool.Server(4).Apply(db)
		}},
	}) {
		b.Run("lib="+lib.name, func(b *testing.B) {
			db, err := lib.open(new(dbpooltest.Server))
			require.NoError(b, err)
			defer db.Close()
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := db.ExecContext(ctx, "update"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// think is the time that a service has other things to do than to query.
func think() time.Duration { return time.Duration(rand.ExpFloat64() * float64(5*time.Millisecond)) }

// work queries with so many goroutines until ctx ends, and counts.
func (p pooled) work(ctx context.Context, workers int, deadline time.Duration) (ok, failed *atomic.Int64, wait func()) {
	ok, failed = new(atomic.Int64), new(atomic.Int64)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for ctx.Err() == nil {
				query, cancel := context.WithTimeout(ctx, deadline)
				err := p.query(query)
				cancel()
				switch {
				case err == nil:
					ok.Add(1)
				case ctx.Err() == nil:
					failed.Add(1)
				}
				time.Sleep(think()) // in the bubble of the caller
			}
		})
	}
	return ok, failed, all.Wait
}

// What 32 workers with think time do to the server.
func TestChurn(t *testing.T) {
	half := 5 * time.Second
	if full() {
		half = 30 * time.Second
	}
	tab := newTable("churn", "", "connects per 1000 queries", "of them in the last half", "dials at once")
	for _, p := range poolers {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			db := p.new(t, 32, connectTime, queryTime)
			ok, _, wait := db.work(ctx, 32, time.Second)
			time.Sleep(half)
			first, firstOK := db.server.Stats(), ok.Load()
			time.Sleep(half)
			stats, allOK := db.server.Stats(), ok.Load()
			cancel()
			wait()
			db.close()
			last := 1000 * float64(stats.Opened-first.Opened) / float64(allOK-firstOK)
			tab.add(p.name, fmt.Sprintf("%.1f", 1000*float64(stats.Opened)/float64(allOK)), fmt.Sprintf("%.1f", last), stats.PeakDialing)
			if p.name == "ours" {
				require.Zero(t, last)
				require.LessOrEqual(t, stats.PeakDialing, 4)
			}
		})
	}
	tab.show(t)
}

// A server that restarts and is away for a second, under 200 workers on a pool of 50.
func TestRestart(t *testing.T) {
	tab := newTable("restart", "", "dials while it is away", "dials at once", "failed queries", "50 connections again after")
	dials := map[string]uint64{}
	for _, p := range poolers {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			db := p.new(t, 50, connectTime, queryTime)
			_, failed, wait := db.work(ctx, 200, 5*time.Second)
			time.Sleep(time.Second)
			failedBefore := failed.Load()
			db.server.Refuse(true)
			db.server.Kill()
			time.Sleep(time.Second)
			stats := db.server.Stats()
			dials[p.name] = stats.Refused
			db.server.Refuse(false)
			back := refilled(db.server, 50)
			missed := failed.Load() - failedBefore
			cancel()
			wait()
			db.close()
			tab.add(p.name, stats.Refused, stats.PeakDialing, missed, back)
			if p.name == "ours" {
				require.NotEqual(t, "never", back)
			}
		})
	}
	tab.show(t)
	require.LessOrEqual(t, 5*dials["ours"], dials["database/sql, idle = open"])
}

// refilled returns how long the server took to have n connections open.
func refilled(srv *dbpooltest.Server, n int) string {
	began := time.Now()
	for time.Since(began) < time.Minute {
		if srv.Stats().Open >= n {
			return time.Since(began).Round(10 * time.Millisecond).String()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "never"
}

// A pool that is cold, and callers that have less time than a dial takes.
func TestColdPool(t *testing.T) {
	tab := newTable("coldpool", "", "queries a second", "failed a second", "connects", "dials at once")
	for _, p := range poolers {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			db := p.new(t, 100, 80*time.Millisecond, queryTime)
			ok, failed, wait := db.work(ctx, 100, 60*time.Millisecond)
			time.Sleep(5 * time.Second)
			stats := db.server.Stats()
			done, missed := ok.Load()/5, failed.Load()/5
			cancel()
			wait()
			db.close()
			tab.add(p.name, done, missed, stats.Opened, stats.PeakDialing)
			if p.name == "ours" {
				require.Positive(t, done)
				require.LessOrEqual(t, stats.PeakDialing, 4)
			}
		})
	}
	tab.show(t)
}
