package ttlcache_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// While 10,000 bad tokens are in the way, an agent whose verdict has expired renews
// it in one round trip.
func TestKnownCredentialRenewsUnderAFlood(t *testing.T) {
	for name, queue := range map[string]int{"long queue": 0, "full queue": 100} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := provider{took: 50 * time.Millisecond}
				c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 20, MaxQueue: queue, Denied: isBad})
				_, err := c.Get(t.Context(), "agent")
				require.NoError(t, err)
				time.Sleep(ttl)
				var flood []*call
				for i := range 10_000 {
					token := fmt.Sprint("bad", i)
					p.say(token, errBad)
					flood = append(flood, get(t.Context(), c, token))
				}
				time.Sleep(10 * time.Millisecond)
				began := time.Now()
				_, err = c.Get(t.Context(), "agent")
				require.NoError(t, err)
				require.Equal(t, p.took, time.Since(began))
				if queue > 0 {
					require.Equal(t, uint64(10_000-15-queue), c.Stats().Shed)
				}
				for _, g := range flood {
					if _, err := g.wait(); !isBad(err) {
						require.ErrorIs(t, err, ttlcache.ErrOverloaded)
					}
				}
				require.EqualValues(t, 16, p.peak.Load())
			})
		})
	}
}

// Known credentials use all places, wait ahead of strangers, and are not turned away
// while strangers wait.
func TestKnownCredentialsGoFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 4, MaxQueue: 4, Reserved: 1})
		for i := range 8 {
			require.True(t, c.Put(fmt.Sprint("agent", i), "", time.Now()))
		}
		time.Sleep(ttl)
		var strangers, agents []*call
		ask := func(list *[]*call, token string) {
			*list = append(*list, get(t.Context(), c, token))
			synctest.Wait()
		}
		for i := range 7 {
			ask(&strangers, fmt.Sprint("stranger", i))
		}
		require.Equal(t, 3, c.Stats().Loading)
		require.Equal(t, 4, c.Stats().Waiting)
		for i := range 5 {
			ask(&agents, fmt.Sprint("agent", i))
			for j, g := range strangers { // agent 0 takes the reserved place, each of the others that of the last stranger
				require.Equal(t, j >= 7-i, g.settled(), "stranger %d after agent %d", j, i)
			}
		}
		require.Equal(t, 4, c.Stats().Loading)
		require.Equal(t, 4, c.Stats().Waiting)
		ask(&agents, "agent5") // only known ones are left to be displaced
		_, err := agents[5].wait()
		require.ErrorIs(t, err, ttlcache.ErrOverloaded)
		for i, g := range strangers {
			_, err := g.wait()
			if i < 3 {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, ttlcache.ErrOverloaded, "stranger %d", i)
			require.Zero(t, g.took)
		}
		for i, g := range agents[:5] {
			_, err := g.wait()
			require.NoError(t, err)
			require.Equal(t, i > 0, g.took > time.Second)
			require.LessOrEqual(t, g.took, 2*time.Second)
		}
		require.EqualValues(t, 5, c.Stats().Shed)
	})
}

// They also go first where nothing is reserved.
func TestKnownCredentialsWaitAheadOfStrangers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 1})
		require.True(t, c.Put("agent", "", time.Now()))
		time.Sleep(ttl)
		var calls []*call
		for _, token := range []string{"stranger1", "stranger2", "agent"} {
			calls = append(calls, get(t.Context(), c, token))
			synctest.Wait()
		}
		for i, want := range []time.Duration{time.Second, 3 * time.Second, 2 * time.Second} {
			_, err := calls[i].wait()
			require.NoError(t, err)
			require.Equal(t, want, calls[i].took)
		}
	})
}

// What arrives first is served first.
func TestQueueIsInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 1})
		var calls []*call
		for i := range 10 {
			calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
			synctest.Wait()
		}
		for i, g := range calls {
			_, err := g.wait()
			require.NoError(t, err)
			require.Equal(t, time.Duration(i+1)*time.Second, g.took)
		}
	})
}

func retryAfter(t *testing.T, err error) time.Duration {
	t.Helper()
	var hint interface{ RetryAfter() time.Duration }
	require.ErrorIs(t, err, ttlcache.ErrOverloaded)
	require.ErrorAs(t, err, &hint)
	return hint.RetryAfter()
}

func TestOverflowSaysWhenToComeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 2, MaxQueue: 4, Reserved: -1})
		fill := func(name string) (calls []*call) {
			for i := range 6 {
				calls = append(calls, get(t.Context(), c, fmt.Sprint(name, i)))
			}
			synctest.Wait()
			return calls
		}
		calls := fill("a")
		_, err := c.Get(t.Context(), "one more")
		require.Equal(t, time.Second, retryAfter(t, err), "nothing has been measured")
		require.EqualError(t, err, "ttlcache: overloaded: too many loads are waiting")
		for _, g := range calls {
			_, err := g.wait()
			require.NoError(t, err)
		}
		calls = fill("b")
		_, err = c.Get(t.Context(), "one more")
		require.Equal(t, 2500*time.Millisecond, retryAfter(t, err), "the fifth in the queue at two a second")
		for _, g := range calls {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.EqualValues(t, 2, c.Stats().Shed)
		require.Zero(t, p.asks("one more"))
	})
}

// A load that could not end in time is not made to wait for that.
// However quick the loads are, nobody is asked to come back in no time.
func TestRetryAfterIsNoBusyLoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Millisecond}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 1, MaxQueue: 1})
		_, err := c.Get(t.Context(), "measure")
		require.NoError(t, err)
		calls := []*call{get(t.Context(), c, "a"), get(t.Context(), c, "b")}
		synctest.Wait()
		_, err = c.Get(t.Context(), "one more")
		require.Equal(t, 100*time.Millisecond, retryAfter(t, err))
		for _, g := range calls {
			<-g.done
		}
	})
}

func TestLoadsThatCannotBeInTimeAreShedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 2, Reserved: -1, LoadTimeout: 5500 * time.Millisecond})
		_, err := c.Get(t.Context(), "measure")
		require.NoError(t, err)
		var calls []*call
		for i := range 100 {
			calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
		}
		served := 0
		for _, g := range calls {
			if _, err := g.wait(); err != nil {
				require.Zero(t, g.took)
				require.Positive(t, retryAfter(t, err))
				continue
			}
			served++
		}
		require.Equal(t, 2*5, served, "all that fits into five seconds")
		require.EqualValues(t, 100-served, c.Stats().Shed)
		require.Zero(t, c.Stats().Failed)
	})
}

// Nor is one whose caller would have left before its turn.
func TestCallersThatWouldLeaveBeforeTheirTurnAreTurnedAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 1})
		_, err := c.Get(t.Context(), "measure")
		require.NoError(t, err)
		first, second := get(t.Context(), c, "first"), get(t.Context(), c, "second")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err = c.Get(ctx, "impatient")
		require.Equal(t, 2*time.Second, retryAfter(t, err))
		require.Equal(t, began, time.Now())
		for _, g := range []*call{first, second} {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Zero(t, p.asks("impatient"))
	})
}

// One load that took very long says little about the next.
func TestAnOutlierDoesNotStopLoads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var quick atomic.Bool
		c := ttlcache.New(func(context.Context, string) (int, error) {
			if !quick.Load() {
				time.Sleep(time.Hour)
			}
			time.Sleep(100 * time.Millisecond)
			return 0, nil
		}, ttlcache.Config[string, int]{TTL: ttl, MaxLoads: 2, Reserved: -1, LoadTimeout: 10 * time.Second})
		_, err := c.Get(t.Context(), "hung")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		quick.Store(true)
		for i := range 60 {
			_, err := c.Get(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
		}
		time.Sleep(2 * time.Hour)
		errs := make(chan error)
		for i := range 4 {
			go func() {
				_, err := c.Get(t.Context(), fmt.Sprint("again", i))
				errs <- err
			}()
		}
		for range 4 {
			require.NoError(t, <-errs)
		}
	})
}

func TestNoLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Hour}
		c := ttlcache.New(p.load, settings{MaxLoads: -1, MaxQueue: -1, LoadTimeout: -1})
		var calls []*call
		for i := range 1000 {
			calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
		}
		for _, g := range calls {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.EqualValues(t, 1000, p.peak.Load())
	})
}
