package ttlcache_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		p.say("bad", errBad)
		p.say("away", errAway)
		var mu sync.Mutex // events come on several goroutines
		var events []ttlcache.Event
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			v, err := p.load(ctx, token)
			if token == "boom" {
				panic("boom")
			}
			return v, err
		}, settings{
			TTL: ttl, Denied: isBad, MaxStale: ttl, MaxEntries: 1, MaxLoads: 1, MaxQueue: 1,
			OnEvent: func(e ttlcache.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			},
		})
		next := func(kind ttlcache.Kind, err error, took time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			require.NotEmpty(t, events)
			require.Equal(t, kind, events[0].Kind, events[0].Kind.String())
			require.Equal(t, took, events[0].Took)
			if err != nil {
				require.ErrorIs(t, events[0].Err, err)
			}
			events = events[1:]
		}
		ask := func(token string) { _, _ = c.Get(t.Context(), token) }
		ask("agent")
		next(ttlcache.Loaded, nil, time.Second)
		ask("agent")
		ask("bad")
		next(ttlcache.Denied, errBad, time.Second)
		ask("away")
		next(ttlcache.Failed, errAway, time.Second)
		time.Sleep(ttl)
		p.say("agent", errAway)
		ask("agent")
		synctest.Wait()
		mu.Lock()
		slices.SortFunc(events, func(a, b ttlcache.Event) int { return int(a.Kind) - int(b.Kind) }) // either may be first
		mu.Unlock()
		next(ttlcache.Failed, errAway, time.Second)
		next(ttlcache.Stale, errAway, 0)
		ask("other")
		next(ttlcache.Evicted, nil, 0)
		next(ttlcache.Loaded, nil, time.Second)
		require.True(t, c.Revoke("other"))
		next(ttlcache.Revoked, nil, 0)
		require.False(t, c.Revoke("other"))
		time.Sleep(time.Nanosecond)
		require.True(t, c.Put("other", "ada", time.Now()))
		require.Zero(t, c.RevokeFunc(func(v string) bool { return v != "ada" }))
		require.Empty(t, events)
		ask("boom")
		next(ttlcache.Panicked, nil, time.Second)

		calls := []*call{get(t.Context(), c, "a"), get(t.Context(), c, "b"), get(t.Context(), c, "c")}
		synctest.Wait()
		next(ttlcache.Shed, ttlcache.ErrOverloaded, 0)
		for _, g := range calls {
			<-g.done
		}
		require.Equal(t, "Kind(0)", ttlcache.Kind(0).String())
		require.Equal(t, "Kind(10)", ttlcache.Kind(10).String())
	})
}

// observed has a cache do all that it tells OnEvent, and returns its Stats.
func observed(t *testing.T, onEvent func(*ttlcache.Cache[string, string], ttlcache.Event)) ttlcache.Stats {
	p := provider{took: time.Second}
	p.say("bad", errBad)
	p.say("away", errAway)
	var c *ttlcache.Cache[string, string]
	c = ttlcache.New(func(ctx context.Context, token string) (string, error) {
		switch token {
		case "boom":
			panic("boom")
		case "hung":
			time.Sleep(time.Minute)
		}
		return p.load(ctx, token)
	}, settings{
		TTL: ttl, Denied: isBad, DenyTTL: ttl, MaxStale: time.Hour, MaxEntries: 1, MaxLoads: 1, MaxQueue: 1, LoadTimeout: 5 * time.Second,
		OnEvent: func(e ttlcache.Event) { onEvent(c, e) },
	})
	ask := func(token string, want error) {
		t.Helper()
		v, err := c.Get(t.Context(), token)
		require.ErrorIs(t, err, want)
		require.Equal(t, err == nil, v != "")
	}
	ask("agent", nil)
	ask("bad", errBad)
	ask("away", errAway)
	ask("other", nil)
	time.Sleep(2 * ttl)
	p.say("other", errAway)
	ask("other", nil) // stale
	var panicked *ttlcache.PanicError
	_, err := c.Get(t.Context(), "boom")
	require.ErrorAs(t, err, &panicked)
	require.Equal(t, "boom", panicked.Value)
	c.Revoke("other")
	for range 3 {
		get(t.Context(), c, "hung")
		synctest.Wait()
		get(t.Context(), c, "queued")
		synctest.Wait()
		ask("no place", ttlcache.ErrOverloaded)
		time.Sleep(2 * ttl)
	}
	synctest.Wait()
	return c.Stats()
}

// OnEvent may use the cache: no lock is held.
func TestOnEventMayUseTheCache(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var kinds [16]atomic.Int64
		observed(t, func(c *ttlcache.Cache[string, string], e ttlcache.Event) {
			kinds[e.Kind].Add(1)
			c.Stats()
			for _, token := range []string{"agent", "bad", "away", "other", "boom", "hung", "queued", "no place"} {
				c.Peek(token)
				if e.Kind != ttlcache.Revoked {
					c.Revoke(token + "?")
				}
			}
			c.RevokeFunc(func(string) bool { return false })
		})
		for k := ttlcache.Loaded; k <= ttlcache.Panicked; k++ {
			require.Positive(t, kinds[k].Load(), k)
		}
	})
}

// One that panics costs nobody a verdict or a place, and ends no process.
func TestOnEventThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fine := observed(t, func(*ttlcache.Cache[string, string], ttlcache.Event) {})
		require.Equal(t, fine, observed(t, func(_ *ttlcache.Cache[string, string], e ttlcache.Event) { panic(e) }))
		require.Zero(t, fine.Loading)
		require.Zero(t, fine.Waiting)
	})
}

// An event says which credential it is about, without saying what that is.
func TestEventsNameTheirCredential(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex // events come on several goroutines
		keys := map[ttlcache.Kind]map[[8]byte]bool{}
		seen := observed(t, func(_ *ttlcache.Cache[string, string], e ttlcache.Event) {
			mu.Lock()
			defer mu.Unlock()
			if keys[e.Kind] == nil {
				keys[e.Kind] = map[[8]byte]bool{}
			}
			keys[e.Kind][e.Key] = true
		})
		require.NotZero(t, seen.Loads)
		all := map[[8]byte]bool{}
		for k := ttlcache.Loaded; k <= ttlcache.Panicked; k++ {
			require.NotEmpty(t, keys[k], k)
			for key := range keys[k] {
				require.NotZero(t, key, k)
				all[key] = true
			}
		}
		require.Len(t, keys[ttlcache.Loaded], 2, "agent and other")
		require.Len(t, keys[ttlcache.Denied], 1)
		require.Len(t, all, 8, "of eight credentials")
		for key := range keys[ttlcache.Stale] {
			require.True(t, keys[ttlcache.Loaded][key])
			require.True(t, keys[ttlcache.Revoked][key])
		}
	})
}
