package dbpool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// flushable opens a pool that the test need not close.
func flushable(t *testing.T, srv *dbpooltest.Server, cfg dbpool.Config, d dbpool.Dial) (*sql.DB, *dbpool.Connector) {
	t.Helper()
	c := dbpool.NewConnector(srv.Connector(), d)
	db, err := dbpool.Open(c, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db, c
}

// settings are pools with and without what starts database/sql's cleaner.
var settings = map[string]dbpool.Config{
	"server":      dbpool.Server(16),
	"no time":     {MaxOpen: 16},
	"idle time":   {MaxOpen: 16, MaxIdleTime: time.Hour},
	"a long life": {MaxOpen: 16, MaxLifetime: 30 * 24 * time.Hour},
}

func holdConns(t *testing.T, db *sql.DB, n int) []*sql.Conn {
	t.Helper()
	conns := make([]*sql.Conn, n)
	for i := range conns {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		conns[i] = conn
	}
	return conns
}

func release(t *testing.T, conns []*sql.Conn) {
	t.Helper()
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
}

func exec(t *testing.T, c interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
},
) {
	t.Helper()
	_, err := c.ExecContext(t.Context(), "update")
	require.NoError(t, err)
}

// What is idle ends at once, however young it is, and without a query that fails.
func TestFlushEndsIdleConnectionsAtOnce(t *testing.T) {
	for name, cfg := range settings {
		for _, age := range []time.Duration{0, 1, time.Millisecond, time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				srv := new(dbpooltest.Server)
				db, c := flushable(t, srv, cfg, dbpool.Dial{})
				release(t, holdConns(t, db, 16))
				time.Sleep(age)
				c.Flush()
				time.Sleep(2 * time.Nanosecond) // a lifetime of 0 is unlimited
				exec(t, db)
				require.EqualValues(t, 17, srv.Stats().Opened, "%s, opened %v before: a new one", name, age)
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, 1, srv.Stats().Open, "%s, opened %v before", name, age)
				require.EqualValues(t, 1, c.Stats().Flushed)
			})
		}
	}
}

// What is in use is left alone until it comes back, after an hour as after a moment,
// and waiting callers do not get it.
func TestFlushEndsBusyConnectionsWhenTheyComeBack(t *testing.T) {
	for name, cfg := range settings {
		for _, busy := range []time.Duration{0, time.Millisecond, time.Second, 50 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				srv := new(dbpooltest.Server)
				cfg.MaxOpen, cfg.MaxIdle = 2, 2
				db, c := flushable(t, srv, cfg, dbpool.Dial{})
				conns := holdConns(t, db, 1)
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				c.Flush()
				time.Sleep(busy)
				exec(t, tx)
				exec(t, conns[0])
				require.EqualValues(t, 2, srv.Stats().Opened, "%s: nothing is interrupted after %v", name, busy)
				waiting := make(chan error, 1)
				go func() {
					_, err := db.ExecContext(t.Context(), "update")
					waiting <- err
				}()
				synctest.Wait()
				time.Sleep(2 * time.Nanosecond)
				require.NoError(t, tx.Commit())
				require.NoError(t, <-waiting)
				release(t, conns)
				synctest.Wait()
				require.EqualValues(t, 2, srv.Stats().Closed, "%s after %v", name, busy)
				require.EqualValues(t, 3, srv.Stats().Opened)
			})
		}
	}
}

// What was opened after it is left alone, while old connections are still in use and
// afterwards.
func TestFlushSparesWhatIsNew(t *testing.T) {
	for name, cfg := range settings {
		for _, login := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				srv := &dbpooltest.Server{ConnectTime: login}
				cfg.MaxIdleTime = 0
				db, c := flushable(t, srv, cfg, dbpool.Dial{})
				old := holdConns(t, db, 3)
				c.Flush()
				fresh := holdConns(t, db, 5)
				for range 1000 {
					time.Sleep(1234 * time.Microsecond)
					release(t, fresh)
					fresh = holdConns(t, db, 5)
				}
				release(t, old)
				release(t, fresh)
				time.Sleep(30 * time.Minute)
				exec(t, db)
				require.EqualValues(t, 8, srv.Stats().Opened, "%s, login %v", name, login)
				require.EqualValues(t, 3, srv.Stats().Closed)
			})
		}
	}
}

// A dial under way is not delivered, and its caller gets the next one, under the limit.
func TestFlushRenewsDialsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 2})
		defer shut(t, c)
		calls := []<-chan call{connect(t, c, 0), connect(t, c, 0), connect(t, c, 0)}
		time.Sleep(50 * time.Millisecond)
		c.Flush()
		var took []time.Duration
		for _, c := range calls {
			got := <-c
			require.NoError(t, got.err)
			took = append(took, got.took/time.Millisecond)
		}
		slices.Sort(took)
		require.Equal(t, []time.Duration{200, 200, 300}, took)
		stats := c.Stats()
		require.EqualValues(t, 5, stats.Opened)
		require.EqualValues(t, 2, stats.Expired)
		require.Equal(t, 2, stats.MaxDialing)
		require.Equal(t, 3, srv.Stats().Open)
	})
}

// A caller may leave, and its dial end, as a flush goes on.
func TestFlushRenewsNoDialThatNobodyNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		defer shut(t, c)
		got := connect(t, c, 60*time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		c.Flush()
		require.ErrorIs(t, (<-got).err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		require.EqualValues(t, 1, srv.Stats().Opened)
		require.Zero(t, srv.Stats().Open)
		require.Zero(t, c.Stats().Spare)
	})
}

func TestFlushEndsSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 1})
		defer shut(t, c)
		connect(t, c, 60*time.Millisecond)
		time.Sleep(time.Second)
		require.Equal(t, 1, c.Stats().Spare)
		c.Flush()
		got := connectNow(t, c, 0)
		require.NoError(t, got.err)
		require.Equal(t, 100*time.Millisecond, got.took, "dialed, in the slot of the spare")
		require.EqualValues(t, 2, srv.Stats().Opened)
		require.Equal(t, 1, srv.Stats().Open)
	})
}

// However often it is called: one a second, and none is forgotten.
func TestFlushOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(dbpooltest.Server)
		db, c := flushable(t, srv, dbpool.Server(16), dbpool.Dial{})
		exec(t, db)
		time.Sleep(time.Minute)
		for from := time.Now(); time.Since(from) < 2900*time.Millisecond; {
			c.Flush()
			time.Sleep(2 * time.Nanosecond)
			exec(t, db)
			time.Sleep(10 * time.Millisecond)
		}
		require.EqualValues(t, 3, c.Stats().Flushed, "in three seconds")
		exec(t, db)
		time.Sleep(time.Second)
		require.EqualValues(t, 4, c.Stats().Flushed, "the calls since the last one")
		exec(t, db)
		require.LessOrEqual(t, srv.Stats().Opened, uint64(1+2*4))
		opened := srv.Stats().Opened
		time.Sleep(time.Minute)
		exec(t, db)
		require.Equal(t, opened, srv.Stats().Opened, "and no more")
	})
}

// A call at the moment at which a deferred flush is due makes no second one.
func TestFlushAtTheEndOfTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := flushable(t, new(dbpooltest.Server), dbpool.Server(1), dbpool.Dial{})
		for range 100 {
			before := c.Stats().Flushed
			c.Flush() // now
			c.Flush() // in a second
			time.Sleep(time.Second)
			c.Flush()
			synctest.Wait()
			require.LessOrEqual(t, c.Stats().Flushed-before, uint64(2))
			time.Sleep(time.Minute)
		}
	})
}

// A deferred flush ends what was opened before it was called for, and nothing later.
func TestFlushThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(dbpooltest.Server)
		db, c := flushable(t, srv, dbpool.Server(16), dbpool.Dial{})
		c.Flush()
		time.Sleep(100 * time.Millisecond)
		release(t, holdConns(t, db, 2))
		c.Flush()
		time.Sleep(100 * time.Millisecond)
		release(t, holdConns(t, db, 5)) // two of before, three new
		require.EqualValues(t, 5, srv.Stats().Opened)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 2, srv.Stats().Closed)
		require.Equal(t, 3, srv.Stats().Open)
	})
}

// Afterwards connections live as long as Open has said.
func TestFlushGivesTheLifetimeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(dbpooltest.Server)
		db, c := flushable(t, srv, dbpool.Config{MaxOpen: 5, MaxLifetime: time.Hour, Jitter: 1e-9}, dbpool.Dial{})
		exec(t, db)
		time.Sleep(time.Second)
		c.Flush()
		exec(t, db)
		time.Sleep(59 * time.Minute)
		exec(t, db)
		require.EqualValues(t, 2, srv.Stats().Opened)
		time.Sleep(2 * time.Minute)
		exec(t, db)
		require.EqualValues(t, 3, srv.Stats().Opened)
	})
	synctest.Test(t, func(t *testing.T) {
		srv := new(dbpooltest.Server)
		db, c := flushable(t, srv, dbpool.Config{MaxOpen: 5}, dbpool.Dial{})
		held := holdConns(t, db, 1) // for longer than Flush waits
		time.Sleep(time.Second)
		c.Flush()
		exec(t, db)
		time.Sleep(30 * 24 * time.Hour)
		exec(t, db)
		require.EqualValues(t, 2, srv.Stats().Opened, "an unlimited life")
		release(t, held)
	})
}

// As soon as the old connections have ended, the pool's lifetime is its own again,
// however busy the pool is.
func TestFlushEndsWithTheLastOldConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(dbpooltest.Server)
		db, c := flushable(t, srv, dbpool.Server(5), dbpool.Dial{})
		old := holdConns(t, db, 2)
		time.Sleep(time.Minute)
		c.Flush()
		fresh := holdConns(t, db, 2)
		release(t, old)
		time.Sleep(time.Second)
		db.SetConnMaxLifetime(time.Minute) // is not overwritten
		time.Sleep(2 * time.Minute)
		release(t, fresh)
		require.EqualValues(t, 4, srv.Stats().Closed)
	})
}

// On a pool that is closed, that closes meanwhile, that others opened, or that has
// nothing: no hang, no panic, and what is documented.
func TestFlushInBadPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(dbpooltest.Server)
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		c.Flush()
		foreign := sql.OpenDB(c)
		exec(t, foreign)
		time.Sleep(time.Minute)
		c.Flush()
		exec(t, foreign)
		require.EqualValues(t, 1, srv.Stats().Opened, "a pool of others keeps its connections")
		require.NoError(t, foreign.Close())
		c.Flush()
		require.EqualValues(t, 2, c.Stats().Flushed)

		db, c := flushable(t, srv, dbpool.Server(5), dbpool.Dial{})
		c.Flush()
		held := holdConns(t, db, 1)
		time.Sleep(time.Second)
		c.Flush()
		c.Flush()
		require.NoError(t, db.Close())
		time.Sleep(time.Hour)
		require.EqualValues(t, 2, c.Stats().Flushed)
		_ = held[0].Close()
	})
}

// A failover in small: writes fail until the flush, and no longer.
func TestFlushAfterFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		readOnly := &dbpooltest.Error{Code: "25006", Message: "cannot execute UPDATE in a read-only transaction"}
		old := &dbpooltest.Server{}
		next := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond}
		primary := old
		base := old.Connector()
		c := dbpool.NewConnector(dbpool.Rotating(base.Driver(), func(context.Context) (driver.Connector, error) {
			return primary.Connector(), nil
		}), dbpool.Dial{})
		db, err := dbpool.Open(c, dbpool.Server(40))
		require.NoError(t, err)
		defer db.Close()
		_, err = dbpool.Warm(t.Context(), db, 40)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		old.Answer = func(string) (*dbpooltest.Result, error) { return nil, readOnly }
		primary = next
		failed := 0
		from := time.Now()
		for time.Since(from) < 10*time.Second {
			if _, err := db.ExecContext(t.Context(), "update"); err != nil {
				failed++
				require.True(t, dbpool.ReadOnly(err))
				c.Flush()
			}
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, 1, failed)
		require.Zero(t, old.Stats().Open)
		require.EqualValues(t, 1, next.Stats().Opened)
	})
}
