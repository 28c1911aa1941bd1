package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestDoneContextAsksNobody(t *testing.T) {
	var p provider
	c := ttlcache.New(p.load, settings{TTL: ttl})
	why := errors.New("client hung up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := c.Get(ctx, "agent")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, why)
	require.Zero(t, p.asks("agent"))
	require.Zero(t, c.Stats())
}

// Each caller leaves on its own context, the first one without harm to the others,
// and the load runs to its end: its late verdict serves the retry.
func TestCallersLeaveAndTheVerdictComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: 3 * time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl})
		why := errors.New("client hung up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		leader := get(ctx, c, "agent")
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		second, third := get(short, c, "agent"), get(t.Context(), c, "agent")

		_, err := leader.wait()
		require.Equal(t, time.Second, leader.took)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, why)
		_, err = second.wait()
		require.Equal(t, 2*time.Second, second.took)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		v, err := third.wait()
		require.NoError(t, err)
		require.Equal(t, "user of agent", v)
		require.Equal(t, 3*time.Second, third.took)

		alone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Get(alone, "other")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		began := time.Now()
		v, err = c.Get(t.Context(), "other")
		require.NoError(t, err)
		require.Equal(t, "user of other", v)
		require.Equal(t, began, time.Now(), "the retry found the late verdict")
		require.Equal(t, 1, p.asks("other"))
	})
}

func TestLoadHasTheValuesOfItsCallerAndItsOwnEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		c := ttlcache.New(func(ctx context.Context, _ string) (any, error) {
			end, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, 15*time.Second, time.Until(end))
			return ctx.Value(key{}), nil
		}, ttlcache.Config[string, any]{})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "trace"), time.Second)
		defer cancel()
		v, err := c.Get(ctx, "agent")
		require.NoError(t, err)
		require.Equal(t, "trace", v)
	})
}

// A load that is over leaves no timer behind.
func TestContextOfALoadEndsWithIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var loads []context.Context
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			loads = append(loads, ctx)
			if token == "boom" {
				panic(token)
			}
			return token, nil
		}, settings{TTL: ttl})
		for _, token := range []string{"agent", "boom"} {
			_, _ = c.Get(t.Context(), token)
			synctest.Wait()
			require.ErrorIs(t, loads[len(loads)-1].Err(), context.Canceled)
		}
	})
}

func TestQueuedLoadIsDroppedWithItsLastCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: 3 * time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 1})
		running := get(t.Context(), c, "running")
		synctest.Wait()
		one, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		two, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		first, second := get(one, c, "queued"), get(two, c, "queued")
		_, err := first.wait()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, c.Stats().Waiting, "somebody still waits")
		_, err = second.wait()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, c.Stats().Waiting)
		_, err = running.wait()
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Zero(t, p.asks("queued"))
		_, err = c.Get(t.Context(), "queued")
		require.NoError(t, err, "dropping it left nothing behind")
	})
}

// Whoever has a result finds its place free: one caller at a time is never in a queue.
func TestPlaceIsFreeBeforeTheResult(t *testing.T) {
	p := provider{}
	p.say("bad", errBad)
	p.say("away", errAway)
	c := ttlcache.New(p.load, settings{MaxLoads: 1, Denied: isBad})
	for i := range 3000 {
		_, _ = c.Get(t.Context(), []string{"agent", "bad", "away"}[i%3])
		require.Zero(t, c.Stats().Loading)
	}
}

func TestLoadTimeoutCountsTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked sync.Map
		c := ttlcache.New(func(_ context.Context, token string) (string, error) {
			asked.Store(token, true)
			time.Sleep(4 * time.Second)
			return token, nil
		}, settings{TTL: ttl, MaxLoads: 1, LoadTimeout: 5 * time.Second})
		var calls []*call
		for _, token := range []string{"a", "b", "c"} {
			calls = append(calls, get(t.Context(), c, token))
			synctest.Wait()
		}
		_, err := calls[0].wait()
		require.NoError(t, err)
		for _, g := range calls[1:] {
			_, err := g.wait()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 5*time.Second, g.took)
		}
		require.EqualValues(t, 2, c.Stats().Failed)
		require.Zero(t, c.Stats().Waiting)
		time.Sleep(time.Minute)
		_, ok := asked.Load("b")
		require.True(t, ok)
		_, ok = asked.Load("c")
		require.False(t, ok, "its time was over in the queue")
	})
}

// A load that ignores its context frees those who wait, and nothing else: its slot stays
// taken, so that others are refused at once, and its verdict is welcome whenever it comes.
func TestLoadThatIgnoresItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var loads atomic.Int64
		c := ttlcache.New(func(_ context.Context, token string) (string, error) {
			loads.Add(1)
			if token == "hung" {
				<-release
			}
			return token, nil
		}, settings{TTL: ttl, Jitter: -1, MaxLoads: 1, LoadTimeout: 10 * time.Second})
		_, err := c.Get(t.Context(), "hung")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "LoadTimeout")
		require.Equal(t, 1, c.Stats().Loading)

		began := time.Now()
		_, err = c.Get(t.Context(), "other")
		require.ErrorIs(t, err, ttlcache.ErrOverloaded)
		require.Equal(t, began, time.Now())
		time.Sleep(5 * time.Second)
		require.EqualValues(t, 1, loads.Load())
		close(release)
		synctest.Wait()
		v, err := c.Get(t.Context(), "other")
		require.NoError(t, err)
		require.Equal(t, "other", v)
		require.True(t, peek(c, "hung"))
		time.Sleep(45 * time.Second)
		require.False(t, peek(c, "hung"), "it was asked for a minute ago")
	})
}

// The key of a load that hangs is not lost for ever.
func TestHungLoadDoesNotPoisonItsKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var loads atomic.Int64
		c := ttlcache.New(func(context.Context, string) (int, error) {
			if loads.Add(1) == 1 {
				<-release
				return 1, nil
			}
			return 2, nil
		}, ttlcache.Config[string, int]{TTL: ttl, LoadTimeout: time.Second})
		_, err := c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		v, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		require.Equal(t, 2, v)
		close(release)
		synctest.Wait()
		v, _ = c.Peek("agent")
		require.Equal(t, 2, v, "what was asked for later is kept")
	})
}

func TestPanicIsAnErrorForEverybody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for name, boom := range map[string]func(){
			"panic":  func() { panic("boom") },
			"error":  func() { panic(fmt.Errorf("boom: %w", errBad)) },
			"nil":    func() { panic(nil) }, //nolint:govet // on purpose
			"goexit": runtime.Goexit,
		} {
			bad := true
			c := ttlcache.New(func(context.Context, string) (string, error) {
				time.Sleep(time.Second)
				if bad {
					boom()
				}
				return "ada", nil
			}, settings{TTL: ttl, MaxLoads: 1, Denied: isBad, DenyTTL: time.Hour})
			calls := []*call{get(t.Context(), c, "other")}
			for range 100 {
				calls = append(calls, get(t.Context(), c, "agent"))
			}
			for _, g := range calls {
				v, err := g.wait()
				require.Error(t, err, name)
				require.Empty(t, v)
				require.NotErrorIs(t, err, errBad, "a panic is no verdict")
				var p *ttlcache.PanicError
				if require.Equal(t, name != "goexit", errors.As(err, &p)); p != nil {
					require.Contains(t, string(p.Stack), "TestPanicIsAnErrorForEverybody")
					require.Contains(t, err.Error(), "panic")
				}
			}
			bad = false
			v, err := c.Get(t.Context(), "agent")
			require.NoError(t, err, "its place and its key are free")
			require.Equal(t, "ada", v)
			require.EqualValues(t, 2, c.Stats().Failed)
		}
	})
}

// Callbacks that judge an answer run on the load's goroutine, and may panic as well.
func TestPanicOfAJudge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		p.say("bad", errBad)
		c := ttlcache.New(p.load, settings{
			TTL: ttl, Denied: func(error) bool { panic("denied") }, Expires: func(string) time.Time { panic("expires") },
		})
		var panicked *ttlcache.PanicError
		_, err := c.Get(t.Context(), "bad")
		require.ErrorAs(t, err, &panicked)
		require.Equal(t, "denied", panicked.Value)
		_, err = c.Get(t.Context(), "good")
		require.ErrorAs(t, err, &panicked)
		require.Equal(t, "expires", panicked.Value)
		require.Zero(t, c.Stats().Loading)
	})
}
