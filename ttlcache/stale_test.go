package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestStaleBridgesAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: 10 * time.Second})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		p.say("agent", errAway)
		time.Sleep(ttl)
		for range 2 {
			v, err := c.Get(t.Context(), "agent")
			require.NoError(t, err)
			require.Equal(t, "user of agent", v)
		}
		require.False(t, peek(c, "agent"), "what is stale is not fresh")
		require.Equal(t, 2, p.asks("agent"), "the second does not ask again so soon")
		time.Sleep(10*time.Second - 1)
		_, err = c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errAway)
		require.EqualValues(t, 3, c.Stats().Stale)
		require.EqualValues(t, 3, c.Stats().Failed)
	})
}

func TestStaleIsOffByDefault(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Denied: isBad})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		p.say("agent", errAway)
		time.Sleep(ttl)
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errAway)
	})
}

func TestDenialIsNeverServedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		c := ttlcache.New(p.load, settings{TTL: ttl, Denied: isBad, MaxStale: time.Hour})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		p.say("agent", fmt.Errorf("it says: %w", errBad))
		time.Sleep(ttl)
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errBad)
		p.say("agent", errAway)
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errAway)
	})
}

func TestStaleEndsWithTheCredential(t *testing.T) {
	bubble(t, func(t *testing.T) {
		end := time.Now().Add(ttl + 5*time.Second)
		var p provider
		c := ttlcache.New(p.load, settings{
			TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: time.Hour, Expires: func(string) time.Time { return end },
		})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		p.say("agent", errAway)
		time.Sleep(ttl + 5*time.Second - 1)
		_, err = c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errAway)
	})
}

// Whatever ends without a verdict is bridged: no place, no time, a panic.
func TestStaleForEveryFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mode atomic.Value
		mode.Store("")
		var why []error
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			if token == "blocker" {
				time.Sleep(time.Second)
			}
			switch mode.Load() {
			case "hang":
				<-ctx.Done()
				return "", ctx.Err()
			case "ignore":
				time.Sleep(10 * time.Second)
			case "panic":
				panic("boom")
			}
			return token, nil
		}, settings{
			TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: time.Hour, MaxLoads: 1, MaxQueue: 1, LoadTimeout: 5 * time.Second,
			OnEvent: func(e ttlcache.Event) {
				if e.Kind == ttlcache.Stale {
					why = append(why, e.Err)
				}
			},
		})
		for _, token := range []string{"agent", "blocker", "queued"} {
			_, err := c.Get(t.Context(), token)
			require.NoError(t, err)
		}
		time.Sleep(2 * ttl)
		stale := func() {
			t.Helper()
			v, err := c.Get(t.Context(), "agent")
			require.NoError(t, err)
			require.Equal(t, "agent", v)
		}
		for _, m := range []string{"hang", "panic", "ignore"} {
			mode.Store(m)
			stale()
			time.Sleep(10 * time.Second)
		}
		time.Sleep(ttl) // the last one came late, but came
		mode.Store("")
		calls := []*call{get(t.Context(), c, "blocker")}
		synctest.Wait()
		calls = append(calls, get(t.Context(), c, "queued"))
		synctest.Wait()
		stale()
		for _, g := range calls {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Len(t, why, 4)
		require.ErrorIs(t, why[0], context.DeadlineExceeded)
		var panicked *ttlcache.PanicError
		require.ErrorAs(t, why[1], &panicked)
		require.ErrorIs(t, why[2], context.DeadlineExceeded)
		require.ErrorIs(t, why[3], ttlcache.ErrOverloaded)
		require.EqualValues(t, 4, c.Stats().Stale)
	})
}

// A caller whose own context ends is told so: the load may still succeed.
func TestStaleIsNotForCallersThatLeave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{}
		c := ttlcache.New(p.load, settings{TTL: ttl, Denied: isBad, MaxStale: time.Hour})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(ttl)
		p.took = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err = c.Get(ctx, "agent")
		require.True(t, errors.Is(err, context.DeadlineExceeded), err)
		time.Sleep(time.Second)
		require.True(t, peek(c, "agent"))
	})
}

// While the provider is away, a credential is asked about after 1 s, 2 s, 4 s and so on, up
// to LoadTimeout, however often it is used.
func TestHoldOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		var ages []time.Duration
		c := ttlcache.New(p.load, settings{
			TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: time.Hour, LoadTimeout: 10 * time.Second,
			OnEvent: func(e ttlcache.Event) {
				if e.Kind == ttlcache.Stale {
					require.ErrorIs(t, e.Err, errAway)
					ages = append(ages, e.Age)
				}
			},
		})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(ttl)
		p.say("agent", errAway)
		asked, expired := []time.Duration(nil), time.Now()
		use := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second / 10) {
				before := p.asks("agent")
				v, err := c.Get(t.Context(), "agent")
				require.NoError(t, err)
				require.Equal(t, "user of agent", v)
				if p.asks("agent") > before {
					asked = append(asked, time.Since(expired))
				}
			}
		}
		use(40 * time.Second)
		for i, want := range []time.Duration{0, 1, 3, 7, 15, 25, 35} {
			require.Equal(t, want*time.Second, asked[i])
		}
		require.Len(t, asked, 7)
		require.Len(t, ages, 400)
		require.Equal(t, ttl+40*time.Second-time.Second/10, ages[399])
		require.EqualValues(t, 400, c.Stats().Stale)
		p.say("agent", nil)
		use(6 * time.Second)
		require.True(t, peek(c, "agent"), "and then it is fresh again")
		time.Sleep(ttl)
		p.say("agent", errAway)
		asked, expired = nil, time.Now()
		use(2 * time.Second)
		require.Equal(t, []time.Duration{0, time.Second}, asked, "the next outage begins anew")
	})
}

// The commonest outage: the provider hangs. Whoever has a stale verdict gets it after
// StaleAfter, and the load goes on for all that come.
func TestStaleInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var hangs atomic.Bool
		var asked atomic.Int64
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			asked.Add(1)
			if hangs.Load() {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return token, nil
		}, settings{TTL: ttl, Denied: isBad, MaxStale: time.Hour, StaleAfter: time.Second})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(ttl)
		hangs.Store(true)
		asked.Store(0)
		for range 10 * 60 { // ten minutes, a caller a second
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			g := get(ctx, c, "agent")
			time.Sleep(time.Second)
			synctest.Wait()
			require.True(t, g.settled())
			require.NoError(t, g.err)
			require.Equal(t, "agent", g.v)
			cancel()
		}
		require.LessOrEqual(t, asked.Load(), int64(10*4), "questions in ten minutes")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Get(ctx, "stranger")
		require.ErrorIs(t, err, context.DeadlineExceeded, "nothing is stale that was never fresh")
		time.Sleep(ttl)
	})
}

// A load whose caller has taken the stale verdict is not dropped, in the queue neither.
func TestStaleInTimeLeavesTheLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: time.Hour, StaleAfter: time.Second, MaxLoads: 1})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(ttl)
		p.took = 5 * time.Second
		blocker := get(t.Context(), c, "blocker")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		g := get(ctx, c, "agent")
		_, err = g.wait()
		require.NoError(t, err)
		require.Equal(t, time.Second, g.took)
		require.Equal(t, 1, c.Stats().Waiting)
		short, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err = c.Get(short, "agent")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, c.Stats().Waiting, "and does not depend on those who join it")
		_, err = blocker.wait()
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.True(t, peek(c, "agent"))
	})
}
