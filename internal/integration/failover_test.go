//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// followed is how a pool dials that has to follow a failover: a probe a second, whatever
// the failover takes.
var followed = dbpool.Dial{Backoff: backoff.Policy{Max: time.Second}}

// A writer writes, holds its connection for a while, and remembers when a write failed
// last.
type writer struct {
	db       *sql.DB
	bare     bool        // without transactions
	saw      func(error) // each error
	ok       atomic.Int64
	failed   atomic.Int64
	lastFail atomic.Int64 // UnixNano
}

func (w *writer) run(ctx context.Context, workers int, busy time.Duration) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := w.write(ctx, busy); err != nil && ctx.Err() == nil {
					w.failed.Add(1)
					w.lastFail.Store(time.Now().UnixNano())
					w.saw(err)
					pause(ctx, 5*time.Millisecond) // as long as a client needs to say so
				} else if err == nil {
					w.ok.Add(1)
				}
			}
		})
	}
	return &wg
}

func (w *writer) write(ctx context.Context, busy time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if w.bare {
		return w.writeBare(ctx, busy)
	}
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "insert into agents values (1)"); err != nil {
		return err
	}
	if busy > 0 {
		pause(ctx, busy)
	}
	return tx.Commit()
}

func (w *writer) writeBare(ctx context.Context, busy time.Duration) error {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "insert into agents values (1)"); err != nil {
		return err
	}
	pause(ctx, busy)
	return nil
}

// afterFailover is for how long writes failed after fail had returned, and whether
// anything was written then.
func (w *writer) afterFailover(t *testing.T, workers int, fail func() time.Time) time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	wg := w.run(ctx, workers, 200*time.Millisecond)
	pause(ctx, time.Second)
	require.Zero(t, w.failed.Load())
	over := fail()
	pause(ctx, 4*time.Second)
	written := w.ok.Load()
	pause(ctx, 500*time.Millisecond)
	cancel()
	wg.Wait()
	t.Logf("written %d, failed %d", w.ok.Load(), w.failed.Load())
	if w.ok.Load() == written {
		return time.Since(over)
	}
	return time.Unix(0, w.lastFail.Load()).Sub(over)
}

// A primary is fenced and its standby promoted, under a pool with twenty connections in use
// and twenty idle.
func TestFailover(t *testing.T) {
	for _, tc := range []struct {
		name  string
		over  func(*testing.T, string, dialFunc) driver.Connector
		flush bool
	}{{"pgx without Flush", pgxOver, false}, {"pgx", pgxOver, true}, {"pq", pqOver, true}} {
		t.Run(tc.name, func(t *testing.T) {
			primary, standby := service.StartPostgresPair(t, 100)
			primary.Admin("create table agents (id int)")
			primary.Admin("grant all on agents to " + service.User)
			both := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d user=%s password=%s dbname=postgres sslmode=disable target_session_attrs=read-write",
				primary.Port, standby.Port, service.User, service.Password)
			c := dbpool.NewConnector(tc.over(t, both, dbpool.Dialer()), followed)
			db, err := dbpool.Open(c, dbpool.Server(40))
			require.NoError(t, err)
			defer db.Close()
			n, err := dbpool.Warm(t.Context(), db, 40)
			require.NoError(t, err)
			require.Equal(t, 40, n)

			// lib/pq begins transactions with "read write", which passes the fence.
			w := writer{db: db, bare: tc.name == "pq", saw: func(err error) {
				if tc.flush && dbpool.ReadOnly(err) {
					c.Flush()
				}
			}}
			var took time.Duration
			failing := w.afterFailover(t, 20, func() time.Time {
				from := time.Now()
				primary.Fence()
				standby.Promote()
				took = time.Since(from)
				return time.Now()
			})
			stats := c.Stats()
			t.Logf("the failover took %v, writes failed for %v after it; %d flushes, %d dials, %d of them failed",
				took.Round(time.Millisecond), failing.Round(time.Millisecond), stats.Flushed, stats.Opened+stats.Failed, stats.Failed)
			if !tc.flush {
				require.Greater(t, failing, 3*time.Second, "nothing ends the connections to the former primary")
				return
			}
			require.Less(t, failing, time.Second)
			require.LessOrEqual(t, stats.MaxDialing, 4)
			var old int
			admin, err := sql.Open("pgx", primary.AdminDSN())
			require.NoError(t, err)
			defer admin.Close()
			require.Eventually(t, func() bool {
				require.NoError(t, admin.QueryRow("select count(*) from pg_stat_activity where usename = $1", service.User).Scan(&old))
				return old == 0
			}, waitLimit, waitTick, "no connection leads to the former primary")
		})
	}
}

// A MariaDB becomes read-only, and another one takes its place.
func TestFailoverMariaDB(t *testing.T) {
	former, next := service.StartMariaDB(t, 60), service.StartMariaDB(t, 60)
	for _, m := range []*service.MariaDB{former, next} {
		admin := openAdmin(t, m)
		_, err := admin.Exec("create database work")
		require.NoError(t, err)
		_, err = admin.Exec("create table work.agents (id int) engine = InnoDB")
		require.NoError(t, err)
		_, err = admin.Exec(fmt.Sprintf("grant all on work.* to %s@'127.0.0.1'", service.User))
		require.NoError(t, err)
	}
	var primary atomic.Int64
	primary.Store(int64(former.Port))
	dial := dbpool.Dialer()
	c := dbpool.NewConnector(mysqlOver(t, former.DSN()+"work", func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, addrOf(int(primary.Load())))
	}), followed)
	db, err := dbpool.Open(c, dbpool.Server(20))
	require.NoError(t, err)
	defer db.Close()
	n, err := dbpool.Warm(t.Context(), db, 20)
	require.NoError(t, err)
	require.Equal(t, 20, n)
	w := writer{db: db, saw: func(err error) {
		if dbpool.ReadOnly(err) {
			c.Flush()
		}
	}}
	failing := w.afterFailover(t, 10, func() time.Time {
		_, err := openAdmin(t, former).Exec("set global read_only = 1")
		require.NoError(t, err)
		pause(t.Context(), 500*time.Millisecond) // a failover takes its time
		primary.Store(int64(next.Port))
		return time.Now()
	})
	t.Logf("writes failed for %v after the failover; %d flushes", failing.Round(time.Millisecond), c.Stats().Flushed)
	require.Less(t, failing, 1250*time.Millisecond, "a second, and the machine is shared")
	require.Positive(t, c.Stats().Flushed)
	var old int
	require.Eventually(t, func() bool {
		require.NoError(t, openAdmin(t, former).QueryRow("select count(*) from information_schema.processlist where user = ?", service.User).Scan(&old))
		return old == 0
	}, waitLimit, waitTick, "no connection leads to the former primary")
}

func openAdmin(t *testing.T, m *service.MariaDB) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", m.AdminDSN())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}
