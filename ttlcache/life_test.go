package ttlcache_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

const ttl = time.Minute

func TestReadersDoNotProlongALife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1})
		for range 60 {
			_, err := c.Get(t.Context(), "agent")
			require.NoError(t, err)
			_, ok := c.Peek("agent")
			require.True(t, ok)
			time.Sleep(time.Second)
		}
		_, ok := c.Peek("agent")
		require.False(t, ok)
		require.Equal(t, 1, p.asks("agent"))
		require.Equal(t, ttlcache.Stats{Hits: 59, Misses: 1, Loads: 1, Entries: 1}, c.Stats())
	})
}

func TestLifeCountsFromTheQuestion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: 5 * time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, MaxLoads: 1})
		first, second := get(t.Context(), c, "a"), get(t.Context(), c, "b")
		_, _ = first.wait()
		_, _ = second.wait()
		a, b := "a", "b"
		if second.took < first.took {
			a, b = b, a
		}
		time.Sleep(ttl - 10*time.Second - 1)
		require.True(t, peek(c, a))
		time.Sleep(time.Nanosecond)
		require.False(t, peek(c, a))
		time.Sleep(5*time.Second - 1) // b was asked 5s later: the queue does not count
		require.True(t, peek(c, b))
		time.Sleep(time.Nanosecond)
		require.False(t, peek(c, b))
	})
}

func peek(c *ttlcache.Cache[string, string], token string) bool {
	_, ok := c.Peek(token)
	return ok
}

// Of 4,000 lives, each in (TTL×(1−Jitter), TTL], a tenth is expected in each tenth. The bounds
// are eight standard deviations away.
func TestJitterOnlyShortens(t *testing.T) {
	for _, jitter := range []float64{0, 0.5, 1} {
		bubble(t, func(t *testing.T) {
			c := ttlcache.New(new(provider).load, settings{TTL: ttl, Jitter: jitter})
			const n = 4000
			for i := range n {
				require.True(t, c.Put(fmt.Sprint(i), "", time.Now()))
			}
			share := jitter
			if jitter == 0 {
				share = 0.1
			}
			spread := time.Duration(share * float64(ttl))
			time.Sleep(ttl - spread)
			alive := n
			require.True(t, peek(c, "0"))
			for range 10 {
				time.Sleep(spread / 10)
				left := 0
				for i := range n {
					if peek(c, fmt.Sprint(i)) {
						left++
					}
				}
				require.InDelta(t, n/10, alive-left, 8*math.Sqrt(n/10))
				alive = left
			}
		})
	}
}

func TestExpiresWinsOverTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ends := map[string]time.Time{
			"soon":  time.Now().Add(10 * time.Second),
			"late":  time.Now().Add(time.Hour),
			"never": {},
			"unset": time.Unix(0, 0),
			"past":  time.Now().Add(-time.Second),
			"now":   time.Now(),
		}
		load := func(_ context.Context, token string) (time.Time, error) { return ends[token], nil }
		c := ttlcache.New(load, ttlcache.Config[string, time.Time]{
			TTL: ttl, Jitter: -1, Expires: func(end time.Time) time.Time { return end },
		})
		for token, end := range ends {
			v, err := c.Get(t.Context(), token)
			require.NoError(t, err)
			require.Equal(t, end, v)
		}
		require.Equal(t, 4, c.Len(), "what has ended is not stored")
		require.False(t, c.Put("past", ends["past"], time.Now()))
		time.Sleep(10*time.Second - 1)
		for token, want := range map[string]bool{"soon": true, "late": true, "never": true, "unset": true, "past": false, "now": false} {
			_, ok := c.Peek(token)
			require.Equal(t, want, ok, token)
		}
		time.Sleep(time.Nanosecond)
		_, ok := c.Peek("soon")
		require.False(t, ok)
		time.Sleep(ttl - 10*time.Second)
		_, ok = c.Peek("late")
		require.False(t, ok)
	})
}

// A verdict that says that the credential has ended also ends the one before.
func TestNewerVerdictThatHasEndedEndsTheOlder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		end := time.Time{}
		c := ttlcache.New(new(provider).load, settings{TTL: ttl, Expires: func(string) time.Time { return end }})
		require.True(t, c.Put("agent", "ada", time.Now()))
		end = time.Now()
		require.False(t, c.Put("agent", "ada", time.Now()))
		require.False(t, peek(c, "agent"))
	})
}

// A verdict that was asked for later has come and gone: the earlier one answers those who
// wait for it, and nobody else.
func TestAnswerOlderThanOneThatHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(func(context.Context, string) (time.Time, error) {
			time.Sleep(2 * time.Second)
			return time.Time{}, nil
		}, ttlcache.Config[string, time.Time]{TTL: ttl, Expires: func(end time.Time) time.Time { return end }})
		done := make(chan time.Time)
		go func() {
			v, _ := c.Get(t.Context(), "agent")
			done <- v
		}()
		time.Sleep(time.Second / 2)
		require.True(t, c.Put("agent", time.Now().Add(time.Second), time.Now()))
		require.Zero(t, <-done)
		_, ok := c.Peek("agent")
		require.False(t, ok)
	})
}

func TestZeroTTLStoresNothing(t *testing.T) {
	for _, ttl := range []time.Duration{0, -time.Hour} {
		bubble(t, func(t *testing.T) {
			p := provider{took: time.Second}
			c := ttlcache.New(p.load, settings{TTL: ttl})
			calls := []*call{get(t.Context(), c, "agent"), get(t.Context(), c, "agent")}
			for _, g := range calls {
				_, err := g.wait()
				require.NoError(t, err)
			}
			require.Equal(t, 1, p.asks("agent"), "loads are joined all the same")
			require.Zero(t, c.Len())
			require.False(t, c.Put("agent", "", time.Now()))
			_, err := c.Get(t.Context(), "agent")
			require.NoError(t, err)
			require.Equal(t, 2, p.asks("agent"))
		})
	}
}

func TestZeroValueIsAVerdict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		loads := 0
		c := ttlcache.New(func(context.Context, string) (*int, error) { loads++; return nil, nil },
			ttlcache.Config[string, *int]{TTL: ttl})
		for range 3 {
			v, err := c.Get(t.Context(), "")
			require.NoError(t, err)
			require.Nil(t, v)
		}
		require.Equal(t, 1, loads, "the empty credential is one, and nil is an answer")
		_, ok := c.Peek("")
		require.True(t, ok)
	})
}

func TestForeverDoesNotOverflow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(new(provider).load, settings{
			TTL: math.MaxInt64, Jitter: -1, Denied: isBad, MaxStale: math.MaxInt64, DenyTTL: math.MaxInt64, Refresh: 0.9,
		})
		time.Sleep(time.Hour)
		require.True(t, c.Put("agent", "ada", time.Now()))
		require.True(t, c.Put("future", "ada", time.Now().Add(time.Hour)))
		require.False(t, c.Put("agent", "ada", time.Time{}), "long ago")
		time.Sleep(1000 * time.Hour)
		require.True(t, peek(c, "agent"))
	})
}

func TestRefresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Refresh: 0.5, LoadTimeout: ttl})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		hit := func(after time.Duration) {
			t.Helper()
			time.Sleep(after)
			began := time.Now()
			_, err := c.Get(t.Context(), "agent")
			require.NoError(t, err)
			require.Equal(t, began, time.Now(), "a hit does not wait for the refresh")
		}
		hit(29*time.Second - 1)
		require.Equal(t, 1, p.asks("agent"))
		hit(time.Nanosecond)
		hit(0)
		synctest.Wait()
		require.Equal(t, 2, p.asks("agent"), "one refresh at 30s")
		hit(31 * time.Second) // beyond the first life
		synctest.Wait()
		require.Equal(t, 3, p.asks("agent"))

		time.Sleep(2 * time.Second)
		p.say("agent", errAway)
		hit(29 * time.Second) // fails
		synctest.Wait()
		require.Equal(t, 4, p.asks("agent"))
		hit(2 * time.Second)
		require.Equal(t, 4, p.asks("agent"), "the next attempt comes halfway to the end")
		time.Sleep(13 * time.Second)
		p.say("agent", nil)
		hit(0)
		hit(16 * time.Second) // beyond the second life
		require.EqualValues(t, 4, c.Stats().Refreshed)
	})
}

// A refresh in the queue is not a caller's to take back, even if one has waited for it.
func TestRefreshOutlivesItsCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: 10 * time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Refresh: 0.5, MaxLoads: 1, LoadTimeout: ttl})
		require.True(t, c.Put("agent", "ada", time.Now()))
		time.Sleep(ttl - time.Second)
		blocker := get(t.Context(), c, "blocker")
		synctest.Wait()
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err, "the hit that begins the refresh")
		require.Equal(t, 1, c.Stats().Waiting)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Get(ctx, "agent")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, c.Stats().Waiting)
		_, err = blocker.wait()
		require.NoError(t, err)
		time.Sleep(11 * time.Second)
		require.True(t, peek(c, "agent"))
		require.Equal(t, 1, p.asks("agent"))
	})
}
