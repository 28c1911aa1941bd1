package ttlcache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A provider that becomes a hundred times slower, and later quick again, is followed
// within ten loads.
func TestProviderChangesItsSpeed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const slots, quick, slow = 8, 5 * time.Millisecond, 500 * time.Millisecond
		var took atomic.Int64
		took.Store(int64(quick))
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			return token, pause(ctx, time.Duration(took.Load()))
		}, settings{TTL: ttl, MaxLoads: slots, LoadTimeout: 2 * time.Second})
		var served, n atomic.Int64
		var callers sync.WaitGroup
		// offer lets 200 callers a second come for d, and returns how many were served.
		offer := func(d time.Duration) int64 {
			before := served.Load()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				callers.Go(func() {
					if _, err := c.Get(t.Context(), fmt.Sprint(n.Add(1))); err == nil {
						served.Add(1)
					}
				})
			}
			return served.Load() - before
		}
		require.InDelta(t, 1000, offer(5*time.Second), 1)
		took.Store(int64(slow))
		offer(10 * slow / slots)
		for range 12 {
			require.GreaterOrEqual(t, offer(5*time.Second), int64(0.85*5*slots*2))
		}
		took.Store(int64(quick))
		offer(slow + 10*quick/slots) // those that are still slow, and ten that are not
		require.InDelta(t, 1000, offer(5*time.Second), 2)
		callers.Wait()
	})
}

// A provider that hangs is noticed: who cannot be answered in time is told so at once,
// whether its loads heed the end of their context or not.
func TestProviderHangs(t *testing.T) {
	for name, heeds := range map[string]bool{"loads that heed their context": true, "loads that ignore it": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var hangs atomic.Bool
				release := make(chan struct{})
				c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
					switch {
					case !hangs.Load():
						return token, pause(ctx, 10*time.Millisecond)
					case heeds:
						<-ctx.Done()
						return "", ctx.Err()
					}
					<-release
					return token, nil
				}, settings{TTL: ttl})
				for i := range 100 {
					_, err := c.Get(t.Context(), fmt.Sprint("quick", i))
					require.NoError(t, err)
				}
				hangs.Store(true)
				var waiting []*call
				for i := range 1000 {
					waiting = append(waiting, get(t.Context(), c, fmt.Sprint("waiting", i)))
				}
				synctest.Wait()
				after := func(d time.Duration, refused int) {
					t.Helper()
					time.Sleep(d)
					began := time.Now()
					var calls []*call
					for i := range 100 {
						calls = append(calls, get(t.Context(), c, fmt.Sprint(d, i)))
					}
					synctest.Wait()
					n := 0
					for _, g := range calls {
						if g.settled() {
							n++
							require.ErrorIs(t, g.err, ttlcache.ErrOverloaded)
						}
					}
					require.Equal(t, refused, n, "after %v", time.Since(began))
				}
				after(time.Second, 100)
				after(9*time.Second, 100)
				if heeds {
					after(6*time.Second, 100-32) // the first loads were cut, others try
				} else {
					after(30*time.Second, 100)
				}
				for _, g := range waiting {
					_, err := g.wait()
					require.Error(t, err)
					require.LessOrEqual(t, g.took, 15*time.Second)
				}
				hangs.Store(false)
				close(release)
				time.Sleep(ttl)
				for i := range 100 {
					_, err := c.Get(t.Context(), fmt.Sprint("again", i))
					require.NoError(t, err)
				}
			})
		})
	}
}

// With nobody in the queue as well: what has not answered for half of the time that is
// left will not answer in the other half.
func TestHangWithoutAQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			if token[0] == 'h' {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return token, pause(ctx, time.Second)
		}, settings{TTL: ttl, MaxLoads: 4, Reserved: -1, LoadTimeout: 10 * time.Second})
		_, err := c.Get(t.Context(), "measure")
		require.NoError(t, err)
		var hung []*call
		for i := range 4 {
			hung = append(hung, get(t.Context(), c, fmt.Sprint("h", i)))
		}
		time.Sleep(5 * time.Second)
		_, err = c.Get(t.Context(), "late")
		require.Equal(t, 5*time.Second, retryAfter(t, err))
		for _, g := range hung {
			<-g.done
		}
	})
}

// Callers whose deadline is too short for their wait and the load are refused at once, so
// that those who can be answered are.
func TestWhoCanWaitForItsTurnButNotForTheLoad(t *testing.T) {
	for patience, want := range map[time.Duration]error{1900 * time.Millisecond: ttlcache.ErrOverloaded, 2100 * time.Millisecond: nil} {
		bubble(t, func(t *testing.T) {
			p := provider{took: time.Second}
			c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 1})
			_, err := c.Get(t.Context(), "measure")
			require.NoError(t, err)
			first := get(t.Context(), c, "first")
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			g := get(ctx, c, "second")
			synctest.Wait()
			require.Equal(t, want != nil, g.settled(), "at once, or not at all")
			_, err = g.wait()
			require.ErrorIs(t, err, want)
			<-first.done
		})
	}
}

// The most patient of those who wait for a load decides whether it is worth it.
func TestPatientCallerJoinsALoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 1})
		for i := range 8 {
			_, err := c.Get(t.Context(), fmt.Sprint("measure", i))
			require.NoError(t, err)
		}
		p.took = 2 * time.Second
		calls := []*call{get(t.Context(), c, "slower than usual")}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		calls = append(calls, get(ctx, c, "shared"))
		synctest.Wait()
		calls = append(calls, get(t.Context(), c, "shared"), get(t.Context(), c, "behind"))
		for i, g := range calls {
			_, err := g.wait()
			require.Equal(t, i == 1, err != nil, i)
		}
		require.Equal(t, 1, p.asks("shared"))
	})
}

// A load that is cut has taken at least as long as it has, and maybe much longer: it never
// makes loads look quick, but it may make them look slow.
func TestLoadsThatWereCut(t *testing.T) {
	require.Equal(t, time.Second, ttlcache.Pace(8, time.Second, 100, time.Second/5))
	require.InDelta(t, 15, ttlcache.Pace(8, time.Second, 100, 15*time.Second).Seconds(), 0.1)
	require.InDelta(t, 11, ttlcache.Pace(8, time.Second, 10, 15*time.Second).Seconds(), 1, "ten loads are enough")
}

// A hang is noticed as well if slots are free, but not for strangers.
func TestHangBesideAReserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			if token[0] == 'h' {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return token, pause(ctx, time.Second)
		}, settings{TTL: ttl, Jitter: -1, MaxLoads: 4, LoadTimeout: 10 * time.Second})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(ttl)
		hung := []*call{get(t.Context(), c, "h1"), get(t.Context(), c, "h2"), get(t.Context(), c, "h3")}
		time.Sleep(4 * time.Second)
		_, err = c.Get(t.Context(), "agent") // in the reserve
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = c.Get(t.Context(), "stranger")
		require.Equal(t, 6*time.Second, retryAfter(t, err))
		for _, g := range hung {
			<-g.done
		}
	})
}
