package dbpool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

const (
	maxOpen  = 6
	parallel = 3
)

// roughly is a Dial for bad weather.
var roughly = dbpool.Dial{
	Parallel: parallel, Timeout: 2 * time.Second,
	Backoff: backoff.Policy{Min: 5 * time.Millisecond, Max: 40 * time.Millisecond},
}

// Over 50,000 calls of Connect by a pool of MaxOpen, with deadlines shorter than
// dials, a server that refuses, hangs and dies, and dials that do not end when they
// should, there are never more than MaxOpen + Parallel connections, and nothing is
// left after Close.
func TestBoundHoldsOverRandomCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 20 * time.Millisecond}
		c := dbpool.NewConnector(unreliable(srv.Connector()), roughly)
		defer c.Close()
		pool := make(chan struct{}, maxOpen)
		inBadWeather(srv, 20, func() {
			for range 2500 {
				if rand.IntN(100) == 0 {
					c.Flush()
				}
				pool <- struct{}{}
				call := connectNow(t, c, patience())
				if call.err == nil {
					time.Sleep(rand.N([]time.Duration{20 * time.Millisecond, 10 * time.Second}[rand.IntN(2)]))
					require.NoError(t, call.conn.Close())
				}
				<-pool
			}
		})
		require.LessOrEqual(t, srv.Stats().PeakOpen, maxOpen+parallel)
		require.Greater(t, srv.Stats().PeakOpen, maxOpen, "or this test does not try hard enough")
		require.LessOrEqual(t, srv.Stats().PeakDialing, parallel)
		require.Equal(t, parallel, c.Stats().MaxDialing)
		require.Greater(t, c.Stats().Adopted, uint64(1000))
		require.Greater(t, c.Stats().Failed, uint64(100))
		requireWorks(t, func() error {
			call := connectNow(t, c, 0)
			if call.err == nil {
				require.NoError(t, call.conn.Close())
			}
			return call.err
		})
		require.NoError(t, c.Close())
		requireNothingLeft(t, srv, c)
	})
}

// The same over 50,000 operations with database/sql as the pool.
func TestBoundHoldsOverRandomOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 20 * time.Millisecond, QueryTime: 2 * time.Millisecond}
		c := dbpool.NewConnector(unreliable(srv.Connector()), roughly)
		db, err := dbpool.Open(c, dbpool.Config{MaxOpen: maxOpen, MaxIdle: 3, MaxLifetime: 2 * time.Second, MaxIdleTime: time.Second})
		require.NoError(t, err)
		inBadWeather(srv, 20, func() {
			for range 2500 {
				operate(db)
			}
		})
		require.LessOrEqual(t, srv.Stats().PeakOpen, maxOpen+parallel)
		require.LessOrEqual(t, srv.Stats().PeakDialing, parallel)
		requireWorks(t, db.Ping)
		require.NoError(t, db.Close())
		requireNothingLeft(t, srv, c)
	})
}

// requireWorks wants do to succeed in fine weather, most of the time: dials are
// still unreliable.
func requireWorks(t *testing.T, do func() error) {
	t.Helper()
	var failed int
	for range 30 {
		if do() != nil {
			failed++
		}
	}
	require.Less(t, failed, 15)
}

func requireNothingLeft(t *testing.T, srv *dbpooltest.Server, c *dbpool.Connector) {
	t.Helper()
	time.Sleep(4 * time.Second) // the longest that an unreliable dial takes
	synctest.Wait()
	stats, dials := srv.Stats(), c.Stats()
	require.Zero(t, stats.Open+stats.Dialing)
	require.Equal(t, stats.Opened, stats.Closed)
	require.Equal(t, stats.Opened, dials.Opened)
	require.Zero(t, dials.Dialing+dials.Waiting+dials.Spare)
	require.GreaterOrEqual(t, dials.Abandoned+dials.Flushed*2*parallel, dials.Adopted+dials.Expired, "a flush ends what is dialed and what waits")
}

// patience is a random deadline, half of them shorter than a dial may take.
func patience() time.Duration {
	return 1 + rand.N([]time.Duration{30 * time.Millisecond, time.Second}[rand.IntN(2)])
}

// unreliable makes a connector of a driver some of whose dials take long, and do
// not end when they should.
func unreliable(base driver.Connector) driver.Connector {
	return connectFunc(func(ctx context.Context) (driver.Conn, error) {
		if rand.IntN(5) == 0 {
			time.Sleep(rand.N(3 * time.Second))
			ctx = context.WithoutCancel(ctx)
		}
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		return base.Connect(ctx)
	})
}

// operate does one random thing with a pool.
func operate(db *sql.DB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	defer cancel()
	switch rand.IntN(4) {
	case 0:
		_ = db.PingContext(ctx)
	case 1:
		_, _ = db.ExecContext(ctx, "update")
	case 2:
		var one int
		_ = db.QueryRowContext(ctx, "select").Scan(&one)
	case 3:
		if tx, err := db.BeginTx(ctx, nil); err == nil {
			time.Sleep(rand.N(5 * time.Millisecond))
			_ = tx.Commit()
		}
	}
}

// inBadWeather runs n workers to their end while the server makes trouble now and
// then.
func inBadWeather(srv *dbpooltest.Server, n int, worker func()) {
	var workers, weather sync.WaitGroup
	done := make(chan struct{})
	weather.Go(func() { storms(srv, done) })
	for range n {
		workers.Go(worker)
	}
	workers.Wait()
	close(done)
	weather.Wait()
}

// storms makes trouble until done is closed.
func storms(srv *dbpooltest.Server, done <-chan struct{}) {
	defer srv.Hang(false)
	defer srv.Refuse(false)
	for calm := true; ; calm = !calm {
		pause := rand.N(2 * time.Second)
		if !calm {
			pause = rand.N(200 * time.Millisecond)
		}
		select {
		case <-done:
			return
		case <-time.After(pause):
		}
		srv.Hang(calm && rand.IntN(3) == 0)
		srv.Refuse(calm && rand.IntN(3) == 0)
		if calm && rand.IntN(3) == 0 {
			srv.Kill()
		}
	}
}
