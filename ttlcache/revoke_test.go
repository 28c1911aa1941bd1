package ttlcache_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func startsWith(prefix string) func(string) bool {
	return func(v string) bool { return len(v) >= len(prefix) && v[:len(prefix)] == prefix }
}

// versions answers with how often it was asked, after a second.
func versions(cfg settings) (*ttlcache.Cache[string, string], map[string]int) {
	asked := map[string]int{}
	cfg.TTL, cfg.Jitter, cfg.MaxLoads = ttl, -1, 1 // one at a time, so that the map needs no lock
	return ttlcache.New(func(_ context.Context, token string) (string, error) {
		asked[token]++
		n := asked[token]
		time.Sleep(time.Second)
		return fmt.Sprint(token, " ", n), nil
	}, cfg), asked
}

func TestRevokeForgets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, asked := versions(settings{MaxStale: ttl, Denied: isBad})
		require.False(t, c.Revoke("agent"), "nothing is known")
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		require.True(t, c.Revoke("agent"))
		require.False(t, c.Revoke("agent"))
		require.False(t, peek(c, "agent"))
		require.Zero(t, c.Len())
		v, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		require.Equal(t, "agent 2", v)
		require.Equal(t, 2, asked["agent"])
		time.Sleep(ttl)
		require.True(t, c.Revoke("agent"), "it could still have been served stale")
		v, err = c.Get(t.Context(), "agent")
		require.NoError(t, err)
		require.Equal(t, "agent 3", v)
		time.Sleep(3 * ttl)
		require.False(t, c.Revoke("agent"), "it has ended by itself")
		require.EqualValues(t, 2, c.Stats().Revoked)
	})
}

func TestRevokeDuringALoad(t *testing.T) {
	for name, revoke := range map[string]func(*ttlcache.Cache[string, string]){
		"Revoke":     func(c *ttlcache.Cache[string, string]) { c.Revoke("agent") },
		"RevokeFunc": func(c *ttlcache.Cache[string, string]) { c.RevokeFunc(startsWith("agent 1")) },
		"Clear":      func(c *ttlcache.Cache[string, string]) { c.Clear() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c, asked := versions(settings{})
				before := get(t.Context(), c, "agent")
				time.Sleep(time.Second / 2)
				revoke(c)
				after := get(t.Context(), c, "agent")
				for _, g := range []*call{before, after} {
					v, err := g.wait()
					require.NoError(t, err)
					require.Equal(t, "agent 2", v)
				}
				require.Equal(t, 2*time.Second, before.took)
				require.Equal(t, 2, asked["agent"])
				v, _ := c.Peek("agent")
				require.Equal(t, "agent 2", v)
			})
		})
	}
}

// A load that others are not concerned with does not ask again.
func TestRevocationConcernsNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, asked := versions(settings{})
		g := get(t.Context(), c, "agent")
		time.Sleep(time.Second / 2)
		require.Zero(t, c.RevokeFunc(startsWith("somebody else")))
		require.False(t, c.Revoke("other"))
		v, err := g.wait()
		require.NoError(t, err)
		require.Equal(t, "agent 1", v)
		require.Equal(t, 1, asked["agent"])
	})
}

// What waits for its turn has not been asked for yet.
func TestRevokeBeforeAQueuedLoadAsks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, asked := versions(settings{})
		first := get(t.Context(), c, "first")
		synctest.Wait()
		queued := get(t.Context(), c, "queued")
		synctest.Wait()
		c.Revoke("queued")
		_, _ = first.wait()
		v, err := queued.wait()
		require.NoError(t, err)
		require.Equal(t, "queued 1", v)
		require.Equal(t, 1, asked["queued"])
	})
}

// A verdict that nobody waits for any more is not kept either.
func TestRevokeStopsALateVerdict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		c := ttlcache.New(func(context.Context, string) (string, error) {
			<-release
			return "ada", nil
		}, settings{TTL: time.Hour, LoadTimeout: time.Second})
		for _, token := range []string{"a", "b", "c"} {
			_, err := c.Get(t.Context(), token)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		c.Revoke("a")
		close(release)
		synctest.Wait()
		require.False(t, peek(c, "a"))
		require.True(t, peek(c, "b"), "that of others is")
	})
}

func TestRevokedAgainAndAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var c *ttlcache.Cache[string, string]
		asked := 0
		c = ttlcache.New(func(context.Context, string) (string, error) {
			asked++
			c.Revoke("agent")
			return "ada", nil
		}, settings{TTL: ttl})
		v, err := c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, ttlcache.ErrRevoked)
		require.Empty(t, v)
		require.Equal(t, 4, asked)
		require.Zero(t, c.Len())
	})
}

// A denial that was asked for before the revocation is not handed out either: the
// account has just been unlocked.
func TestRevokeDuringADenial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		asked := 0
		c := ttlcache.New(func(context.Context, string) (string, error) {
			asked++
			n := asked
			time.Sleep(time.Second)
			if n == 1 {
				return "", errBad
			}
			return "ada", nil
		}, settings{TTL: ttl, Denied: isBad, DenyTTL: ttl})
		g := get(t.Context(), c, "agent")
		time.Sleep(time.Second / 2)
		c.Revoke("agent")
		v, err := g.wait()
		require.NoError(t, err)
		require.Equal(t, "ada", v)
		require.Zero(t, c.Stats().Denied)
	})
}

func TestRevokeFuncByWhatWasSaid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(new(provider).load, settings{TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: ttl})
		for i := range 500 {
			require.True(t, c.Put(fmt.Sprint("old", i), fmt.Sprint("user", i%5), time.Now()))
		}
		time.Sleep(ttl)
		for i := range 500 {
			require.True(t, c.Put(fmt.Sprint("new", i), fmt.Sprint("user", i%5), time.Now()))
		}
		require.Equal(t, 200, c.RevokeFunc(func(v string) bool { return v == "user3" }), "stale ones among them")
		require.Equal(t, 800, c.Len())
		for i := range 500 {
			require.Equal(t, i%5 != 3, peek(c, fmt.Sprint("new", i)))
		}
		time.Sleep(ttl)
		require.Equal(t, 100, c.RevokeFunc(func(v string) bool { return v == "user0" }), "what has ended is not counted")
		require.Equal(t, 600, c.Len(), "but forgotten")
		require.EqualValues(t, 300, c.Stats().Revoked)
		c.Clear()
		require.Zero(t, c.Len())
		require.PanicsWithValue(t, "ttlcache: RevokeFunc with nil match", func() { c.RevokeFunc(nil) })
	})
}

// match may ask the cache and revoke more.
func TestRevokeFuncHoldsNoLock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(new(provider).load, settings{TTL: ttl, MaxEntries: 8})
		require.True(t, c.Put("a", "ada", time.Now()))
		require.Equal(t, 1, c.RevokeFunc(func(string) bool {
			require.True(t, peek(c, "a"))
			c.Revoke("c")
			return true
		}))
	})
}

// A revocation that comes while the answer is judged by an earlier one is not missed.
func TestRevokeFuncWhileAnAnswerIsJudged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, asked := versions(settings{})
		g := get(t.Context(), c, "agent")
		time.Sleep(time.Second / 2)
		var once sync.Once
		c.RevokeFunc(func(string) bool {
			once.Do(func() { c.RevokeFunc(startsWith("agent 1")) })
			return false
		})
		v, err := g.wait()
		require.NoError(t, err)
		require.Equal(t, "agent 2", v)
		require.Equal(t, 2, asked["agent"])
	})
}

func TestPutHonoursTheFence(t *testing.T) {
	for name, revoke := range map[string]func(*ttlcache.Cache[string, string]){
		"Revoke":     func(c *ttlcache.Cache[string, string]) { c.Revoke("agent") },
		"RevokeFunc": func(c *ttlcache.Cache[string, string]) { c.RevokeFunc(startsWith("ada")) },
		"Clear":      func(c *ttlcache.Cache[string, string]) { c.Clear() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := ttlcache.New(new(provider).load, settings{TTL: time.Hour})
				asked := time.Now()
				time.Sleep(time.Second)
				revoke(c)
				revoked := time.Now()
				require.False(t, c.Put("agent", "ada", asked))
				require.False(t, c.Put("agent", "ada", revoked), "the order within an instant is unknown")
				require.False(t, peek(c, "agent"))
				if name == "RevokeFunc" {
					require.True(t, c.Put("agent", "bob", asked))
					require.True(t, c.Revoke("agent"))
				}
				time.Sleep(time.Nanosecond)
				require.True(t, c.Put("agent", "ada", time.Now()))
				require.True(t, peek(c, "agent"))
			})
		})
	}
}

// However many revocations there were, none is forgotten.
func TestFencesHoldWhenThereAreMany(t *testing.T) {
	const n = 3000
	for name, test := range map[string]struct {
		revoke func(c *ttlcache.Cache[string, string], i string)
		put    func(c *ttlcache.Cache[string, string], i string, asked time.Time) bool
	}{
		"keys": {
			func(c *ttlcache.Cache[string, string], i string) { c.Revoke(i) },
			func(c *ttlcache.Cache[string, string], i string, asked time.Time) bool { return c.Put(i, "", asked) },
		},
		"predicates": {
			func(c *ttlcache.Cache[string, string], i string) { c.RevokeFunc(func(v string) bool { return v == i }) },
			func(c *ttlcache.Cache[string, string], i string, asked time.Time) bool { return c.Put("", i, asked) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := ttlcache.New(new(provider).load, settings{TTL: time.Hour, MaxEntries: 8})
				asked := time.Now()
				time.Sleep(time.Nanosecond)
				for i := range n {
					test.revoke(c, fmt.Sprint(i))
				}
				for i := range n {
					require.False(t, test.put(c, fmt.Sprint(i), asked), i)
				}
				time.Sleep(time.Nanosecond)
				require.True(t, test.put(c, "0", time.Now()))
			})
		})
	}
}

// What was asked for later wins, in whatever order the answers come.
func TestLaterQuestionWins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Denied: isBad, DenyTTL: time.Hour})
		require.True(t, c.Put("a", "new", time.Now()))
		require.True(t, c.Put("a", "newest", time.Now()))
		require.False(t, c.Put("a", "old", time.Now().Add(-1)))
		v, _ := c.Peek("a")
		require.Equal(t, "newest", v)

		p.say("denied", errBad)
		p.say("failed", errAway)
		for _, token := range []string{"loaded", "denied", "failed"} {
			for _, pause := range []time.Duration{0, time.Second / 2} {
				c.Clear()
				time.Sleep(time.Nanosecond)
				g := get(t.Context(), c, token)
				synctest.Wait()
				time.Sleep(pause)
				require.True(t, c.Put(token, "ada, who just logged in", time.Now()))
				v, err := g.wait()
				require.NoError(t, err)
				require.Equal(t, "ada, who just logged in", v)
				v, _ = c.Peek(token)
				require.Equal(t, "ada, who just logged in", v)
			}
		}
	})
}

// The same for a denial, and a load so late that nobody waits for it.
func TestDenialWinsOverAnEarlierQuestion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int64
		c := ttlcache.New(func(context.Context, string) (string, error) {
			if asked.Add(1) == 1 {
				<-release
				return "ada", nil
			}
			return "", errBad
		}, settings{TTL: time.Hour, LoadTimeout: time.Second, Denied: isBad, DenyTTL: time.Hour})
		_, err := c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errBad)
		close(release)
		synctest.Wait()
		require.False(t, peek(c, "agent"))
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errBad)
		require.EqualValues(t, 2, asked.Load())
	})
}

func TestClearForgetsDenialsAndWhoIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		p.say("bad", errBad)
		c := ttlcache.New(p.load, settings{
			TTL: ttl, Denied: isBad, DenyTTL: time.Hour, MaxStale: time.Hour, MaxLoads: 2, Reserved: 1, MaxQueue: 10,
		})
		for _, token := range []string{"bad", "agent"} {
			_, _ = c.Get(t.Context(), token)
		}
		c.Clear()
		require.Zero(t, c.Stats().Entries)
		require.Zero(t, c.Stats().Denied)
		_, err := c.Get(t.Context(), "bad")
		require.ErrorIs(t, err, errBad)
		require.Equal(t, 2, p.asks("bad"))
		require.True(t, c.Put("other", "", time.Now()))
		time.Sleep(ttl) // now one place is kept for it
		strangers := []*call{get(t.Context(), c, "stranger"), get(t.Context(), c, "agent")}
		for _, g := range strangers {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.True(t, slices.ContainsFunc(strangers, func(g *call) bool { return g.took == 2*time.Second }))
		p.say("agent", errAway)
		c.Clear()
		_, err = c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errAway, "nothing stale is left")
	})
}

// Credentials that the cache has never seen are revoked 50,000 times a second, as by a
// logout endpoint that takes any token. No load fails or is repeated for it.
func TestRevokesOfOthersCostNoLoad(t *testing.T) {
	for _, entries := range []int{8, 1000, 65536} {
		bubble(t, func(t *testing.T) {
			p := provider{took: time.Second}
			c := ttlcache.New(p.load, settings{TTL: ttl, MaxEntries: entries, MaxLoads: 200})
			var calls []*call
			for i := range 200 {
				calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
			}
			for i := range 50_000 {
				require.False(t, c.Revoke(fmt.Sprint("unknown", i)))
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			for _, g := range calls {
				_, err := g.wait()
				require.NoError(t, err)
				require.Equal(t, time.Second, g.took)
			}
			require.EqualValues(t, 200, c.Stats().Loads)
		})
	}
}
