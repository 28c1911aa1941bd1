package dbpool_test

import (
	"context"
	"database/sql/driver"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// A cold start goes through the gate, and at its full speed: no wait of any other
// kind.
func TestColdStart(t *testing.T) {
	for _, tc := range []struct {
		parallel, want int
	}{{0, 4}, {1, 1}, {8, 8}, {-1, 32}} {
		synctest.Test(t, func(t *testing.T) {
			srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond}
			c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: tc.parallel})
			defer shut(t, c)
			var calls []<-chan call
			for range 32 {
				calls = append(calls, connect(t, c, 0))
			}
			synctest.Wait()
			require.Equal(t, tc.want, c.Stats().Dialing)
			require.Equal(t, 32-tc.want, c.Stats().Waiting)
			from := time.Now()
			for _, done := range calls {
				got := <-done
				require.NoError(t, got.err)
			}
			rounds := 32 / tc.want
			require.Equal(t, time.Duration(rounds)*10*time.Millisecond, time.Since(from))
			stats := c.Stats()
			require.Equal(t, tc.want, srv.Stats().PeakDialing)
			require.Equal(t, dbpool.DialStats{
				Opened: 32, MaxDialing: tc.want, DialTime: 320 * time.Millisecond,
				WaitTime: time.Duration(tc.want*rounds*(rounds-1)/2) * 10 * time.Millisecond,
			}, stats)
		})
	}
}

func TestOldestCallerIsServedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Second}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 1})
		defer shut(t, c)
		served := make(chan int, 5)
		for i := range 5 {
			go func() {
				_, _ = c.Connect(t.Context())
				served <- i
			}()
			synctest.Wait()
		}
		for i := range 5 {
			require.Equal(t, i, <-served)
		}
	})
}

// A dial that hangs holds up the youngest caller only: no dial belongs to a caller.
func TestHangingDialHoldsUpNobodyInFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 2})
		srv.Hang(true)
		first := connect(t, c, 0)
		synctest.Wait()
		srv.Hang(false)
		second := connect(t, c, 0)
		require.Equal(t, 10*time.Millisecond, (<-first).took, "with the second's dial")
		third := connect(t, c, 0)
		require.Equal(t, 20*time.Millisecond, (<-second).took, "with the third's")
		require.ErrorIs(t, (<-third).err, context.DeadlineExceeded)
		shut(t, c)
	})
}

func TestEndedContextDoesNotDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		defer shut(t, c)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errReason)
		_, err := c.Connect(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errReason)
		synctest.Wait()
		require.Zero(t, srv.Stats().Opened)
	})
}

// A caller whose deadline is shorter than a dial gets nothing, and the next one
// gets what was dialed for it.
func TestAbandonedDialServesTheNextCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		defer shut(t, c)
		got := connectNow(t, c, 60*time.Millisecond)
		require.ErrorIs(t, got.err, context.DeadlineExceeded)
		require.Equal(t, 60*time.Millisecond, got.took)
		time.Sleep(time.Second)
		require.Equal(t, 1, c.Stats().Spare)

		got = connectNow(t, c, 60*time.Millisecond)
		require.NoError(t, got.err)
		require.Zero(t, got.took)
		require.EqualValues(t, 1, srv.Stats().Opened)
		require.Equal(t, dbpool.DialStats{
			Opened: 1, Abandoned: 1, Adopted: 1, MaxDialing: 1, DialTime: 100 * time.Millisecond,
		}, c.Stats())
	})
}

func TestAbandonedDialIsAdoptedUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		defer shut(t, c)
		require.Error(t, connectNow(t, c, 60*time.Millisecond).err)
		got := connectNow(t, c, 60*time.Millisecond)
		require.NoError(t, got.err)
		require.Equal(t, 40*time.Millisecond, got.took)
		stats := c.Stats()
		require.EqualValues(t, 1, stats.Opened)
		require.EqualValues(t, 1, stats.Adopted)
		require.Equal(t, 1, stats.MaxDialing)
	})
}

// A caller that waits because of Parallel takes over the dial of one that leaves.
func TestWaitingCallerTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 1})
		defer shut(t, c)
		first := connect(t, c, 60*time.Millisecond)
		synctest.Wait()
		second := connect(t, c, 0)
		synctest.Wait()
		require.Equal(t, 1, c.Stats().Waiting)
		require.Error(t, (<-first).err)
		synctest.Wait()
		require.Zero(t, c.Stats().Waiting)
		require.Equal(t, 100*time.Millisecond, (<-second).took)
		require.EqualValues(t, 1, c.Stats().Opened)
		require.Equal(t, 60*time.Millisecond, c.Stats().WaitTime)
	})
}

// A dial whose caller has left may be one that hangs, for example in a failover.
// Without a dial of their own, callers with short deadlines would all wait for it.
func TestNewcomerDoesNotRelyOnAnOldDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		defer shut(t, c)
		srv.Hang(true)
		require.Error(t, connectNow(t, c, 500*time.Millisecond).err)
		srv.Hang(false)
		require.Error(t, connectNow(t, c, 499*time.Millisecond).err, "relies on the first caller's dial")
		time.Sleep(time.Millisecond)
		require.NoError(t, connectNow(t, c, 500*time.Millisecond).err)
		require.Equal(t, 1, c.Stats().Dialing, "the one that hangs")
	})
}

// Who cannot dial, since a dial that may hang has the only slot, gets what that
// dial yields if it does not hang.
func TestCallerAtTheGateGetsAnOldDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 3 * time.Second}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 1})
		defer shut(t, c)
		require.Error(t, connectNow(t, c, 500*time.Millisecond).err)
		time.Sleep(1500 * time.Millisecond)
		got := connectNow(t, c, 0)
		require.NoError(t, got.err)
		require.Equal(t, time.Second, got.took)
		require.Equal(t, dbpool.DialStats{
			Opened: 1, Abandoned: 1, Adopted: 1, MaxDialing: 1, DialTime: 3 * time.Second, WaitTime: time.Second,
		}, c.Stats())
	})
}

// A hundred callers with 60 ms each, again and again, where a dial takes 100 ms. A
// limit alone serves no caller, ever: each dial is thrown away when its caller leaves.
func TestAdoptionEndsTheLivelock(t *testing.T) {
	run := func(t *testing.T, c driver.Connector) (served int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 100 {
			wg.Go(func() {
				for range 100 {
					if connectNow(t, c, 60*time.Millisecond).err == nil {
						mu.Lock()
						served++
						mu.Unlock()
						return
					}
				}
			})
		}
		wg.Wait()
		return served
	}
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		slots := make(chan struct{}, 4)
		require.Zero(t, run(t, connectFunc(func(ctx context.Context) (driver.Conn, error) {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				return srv.Connector().Connect(ctx)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})))
	})
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		defer shut(t, c)
		from := time.Now()
		require.Equal(t, 100, run(t, c))
		require.Equal(t, 2500*time.Millisecond, time.Since(from), "as fast as four dials at once can be")
		require.LessOrEqual(t, srv.Stats().Opened, uint64(104))
	})
}

func TestSpareExpiresAfterThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		defer shut(t, c)
		require.Error(t, connectNow(t, c, 60*time.Millisecond).err)
		time.Sleep(40*time.Millisecond + 30*time.Second - time.Nanosecond)
		synctest.Wait()
		require.Equal(t, 1, srv.Stats().Open)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Zero(t, srv.Stats().Open)
		require.EqualValues(t, 1, c.Stats().Expired)
		require.Zero(t, c.Stats().Spare)
		require.Equal(t, 100*time.Millisecond, connectNow(t, c, 0).took, "the slot is free again")
	})
}

// A connection that no caller has taken yet counts as a dial, or else callers that leave
// would pile connections up.
func TestSparesHoldTheirSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 3})
		defer shut(t, c)
		for range 10 {
			var calls []<-chan call
			for range 20 {
				calls = append(calls, connect(t, c, 60*time.Millisecond))
			}
			for _, done := range calls {
				if got := <-done; got.err == nil {
					require.NoError(t, got.conn.Close())
				}
			}
			time.Sleep(time.Second)
			require.Equal(t, 3, srv.Stats().Open)
		}
		require.Equal(t, 3, srv.Stats().PeakDialing)
	})
}

func TestDeadSpareIsNotHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		var closed atomic.Int64
		c := dbpool.NewConnector(connectFunc(func(ctx context.Context) (driver.Conn, error) {
			conn, err := srv.Connector().Connect(ctx)
			return counting{conn, &closed}, err
		}), dbpool.Dial{})
		defer shut(t, c)
		for range 3 { // database/sql gives up at the third dead connection
			connect(t, c, 60*time.Millisecond)
		}
		time.Sleep(time.Second)
		require.Equal(t, 3, c.Stats().Spare)
		srv.Kill()
		got := connectNow(t, c, 0)
		require.NoError(t, got.err)
		require.NoError(t, got.conn.(driver.Pinger).Ping(t.Context()))
		require.EqualValues(t, 3, c.Stats().Expired)
		require.EqualValues(t, 3, closed.Load())
		require.Zero(t, c.Stats().Adopted)
	})
}

// counting counts connections that are closed.
type counting struct {
	driver.Conn
	closed *atomic.Int64
}

func (c counting) Ping(ctx context.Context) error { return c.Conn.(driver.Pinger).Ping(ctx) }

func (c counting) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

// A driver without a ping is taken at its word.
func TestSpareOfADriverWithoutPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(connectFunc(func(ctx context.Context) (driver.Conn, error) {
			conn, err := srv.Connector().Connect(ctx)
			return struct{ driver.Conn }{conn}, err
		}), dbpool.Dial{})
		defer shut(t, c)
		connect(t, c, 60*time.Millisecond)
		time.Sleep(time.Second)
		require.Zero(t, connectNow(t, c, 0).took)
		require.EqualValues(t, 1, c.Stats().Adopted)
	})
}

type key struct{}

// A dial sees what its caller's context carries, such as a trace, and not its end.
func TestDialSeesValuesOfItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		seen := make(chan context.Context, 1)
		c := dbpool.NewConnector(connectFunc(func(ctx context.Context) (driver.Conn, error) {
			seen <- ctx
			time.Sleep(time.Second)
			return srv.Connector().Connect(ctx)
		}), dbpool.Dial{Timeout: time.Minute})
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "trace"), time.Millisecond)
		defer cancel()
		_, err := c.Connect(ctx)
		require.Error(t, err)
		dial := <-seen
		require.NoError(t, dial.Err())
		require.Equal(t, "trace", dial.Value(key{}))
		deadline, ok := dial.Deadline()
		require.True(t, ok)
		require.Equal(t, time.Minute-time.Millisecond, time.Until(deadline))
	})
}

func TestTimeoutCoversTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		srv.Hang(true)
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 1})
		defer shut(t, c)
		first := connect(t, c, 0)
		synctest.Wait()
		second := connect(t, c, 0)
		for _, done := range []<-chan call{first, second} {
			got := <-done
			require.ErrorIs(t, got.err, context.DeadlineExceeded)
			require.Equal(t, 15*time.Second, got.took)
		}
	})
}

func TestTimeoutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Hour}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Timeout: -1})
		defer shut(t, c)
		got := connectNow(t, c, 0)
		require.NoError(t, got.err)
		require.Equal(t, time.Hour, got.took)
	})
}

// The pool's own goroutine, with which it opens connections for callers who wait,
// has no deadline and does one dial at a time: a dial that hangs must not end the
// pool.
func TestPoolOutlivesAHangingDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{QueryTime: time.Second}
		db, err := dbpool.Open(dbpool.NewConnector(srv.Connector(), dbpool.Dial{Timeout: 5 * time.Second}), dbpool.Server(1))
		require.NoError(t, err)
		defer db.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		waiting := make(chan error)
		go func() { waiting <- db.PingContext(t.Context()) }()
		synctest.Wait()
		srv.Hang(true)
		_, err = conn.ExecContext(ctx, "costs the connection")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, conn.Close())
		from := time.Now()
		require.ErrorIs(t, <-waiting, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(from))
		srv.Hang(false)
		require.NoError(t, db.PingContext(t.Context()))
	})
}

// Whatever the settings, a call of Connect ends: with a connection, or an error
// within the Timeout.
func FuzzDial(f *testing.F) {
	f.Add(0, int64(0), int64(0), int64(0), 0.0, 0.0, false)
	f.Add(-1, int64(-1), int64(-1), int64(-1), -1.0, -1.0, true)
	f.Add(1, int64(1), int64(math.MaxInt64), int64(math.MaxInt64), math.NaN(), math.Inf(1), true)
	f.Fuzz(func(t *testing.T, parallel int, timeout, least, most int64, factor, jitter float64, refuse bool) {
		synctest.Test(t, func(t *testing.T) {
			srv := &dbpooltest.Server{ConnectTime: time.Millisecond}
			srv.Refuse(refuse)
			c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{
				Parallel: parallel, Timeout: time.Duration(timeout),
				Backoff: backoff.Policy{Min: time.Duration(least), Max: time.Duration(most), Factor: factor, Jitter: jitter},
			})
			defer c.Close()
			var calls []<-chan call
			for range 3 {
				calls = append(calls, connect(t, c, time.Hour))
			}
			limit := time.Hour
			if timeout > 0 {
				limit = min(limit, time.Duration(timeout))
			}
			for _, done := range calls {
				if got := <-done; got.took > limit || (got.conn == nil) == (got.err == nil) {
					t.Fatalf("%v after %v", got.err, got.took)
				}
			}
		})
	})
}
