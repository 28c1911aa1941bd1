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

func TestDenialIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		p.say("bad", fmt.Errorf("says the provider: %w", errBad))
		c := ttlcache.New(p.load, settings{TTL: ttl, Denied: isBad, DenyTTL: 5 * time.Second})
		for range 4 {
			v, err := c.Get(t.Context(), "bad")
			require.EqualError(t, err, "says the provider: bad token")
			require.ErrorIs(t, err, errBad)
			require.Empty(t, v)
		}
		require.Equal(t, 1, p.asks("bad"))
		require.False(t, peek(c, "bad"))
		require.Equal(t, ttlcache.Stats{DeniedHits: 3, Misses: 1, Loads: 1, Denied: 1}, c.Stats())
		time.Sleep(4*time.Second - 1) // it was asked for a second ago
		_, _ = c.Get(t.Context(), "bad")
		require.Equal(t, 1, p.asks("bad"))
		time.Sleep(time.Nanosecond)
		_, _ = c.Get(t.Context(), "bad")
		require.Equal(t, 2, p.asks("bad"))

		p.say("bad", nil)
		require.True(t, c.Revoke("bad"), "a denial can be taken back")
		_, err := c.Get(t.Context(), "bad")
		require.NoError(t, err)
		require.Zero(t, c.Stats().Denied)
	})
}

func TestNoErrorIsADenialByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		p.say("bad", errBad)
		for _, cfg := range []settings{
			{TTL: ttl, DenyTTL: ttl},
			{TTL: ttl, DenyTTL: ttl, Denied: func(error) bool { return false }},
			{TTL: ttl, Denied: isBad},
		} {
			asked := p.asks("bad")
			c := ttlcache.New(p.load, cfg)
			for range 2 {
				_, err := c.Get(t.Context(), "bad")
				require.ErrorIs(t, err, errBad)
			}
			require.Equal(t, asked+2, p.asks("bad"))
			require.Zero(t, c.Stats().Denied)
		}
	})
}

// Running out of time says nothing about a credential, whatever it is wrapped in.
func TestErrorsOfContextsAreNeverOffered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var answer error
		c := ttlcache.New(func(context.Context, string) (string, error) { return "", answer },
			settings{TTL: ttl, DenyTTL: ttl, Denied: func(err error) bool {
				t.Errorf("offered %v", err)
				return true
			}})
		for _, answer = range []error{
			context.Canceled, context.DeadlineExceeded, fmt.Errorf("dial: %w", context.Canceled),
			errors.Join(errBad, context.DeadlineExceeded),
		} {
			_, err := c.Get(t.Context(), "agent")
			require.Equal(t, answer, err)
		}
		require.Zero(t, c.Stats().Denied)
	})
}

func TestDenialEndsAPositiveVerdictAtOnce(t *testing.T) {
	for _, denyTTL := range []time.Duration{0, time.Second} {
		bubble(t, func(t *testing.T) {
			var p provider
			c := ttlcache.New(p.load, settings{
				TTL: ttl, Jitter: -1, Refresh: 0.1, Denied: isBad, DenyTTL: denyTTL, MaxStale: time.Hour,
			})
			_, err := c.Get(t.Context(), "agent")
			require.NoError(t, err)
			p.say("agent", errBad)
			time.Sleep(ttl / 2)
			_, err = c.Get(t.Context(), "agent")
			require.NoError(t, err, "the hit that begins the refresh")
			time.Sleep(time.Millisecond)
			require.False(t, peek(c, "agent"))
			require.Zero(t, c.Len())
			_, err = c.Get(t.Context(), "agent")
			require.ErrorIs(t, err, errBad)
			p.say("agent", errAway)
			time.Sleep(denyTTL)
			_, err = c.Get(t.Context(), "agent")
			require.ErrorIs(t, err, errAway, "nothing stale is left")
		})
	}
}

// The load that hung was asked before, and nothing else knows of the denial.
func TestDenialStopsALateVerdict(t *testing.T) {
	for name, denied := range map[string]bool{"denied meanwhile": true, "nothing meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				release := make(chan struct{})
				var asked atomic.Int64
				c := ttlcache.New(func(context.Context, string) (string, error) {
					switch {
					case asked.Add(1) == 1:
						<-release
						return "ada", nil
					case denied:
						return "", errBad
					}
					return "", errAway
				}, settings{TTL: time.Hour, LoadTimeout: time.Second, Denied: isBad})
				_, err := c.Get(t.Context(), "agent")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				_, err = c.Get(t.Context(), "agent")
				require.Equal(t, denied, isBad(err))
				close(release)
				synctest.Wait()
				require.Equal(t, !denied, peek(c, "agent"))
				require.EqualValues(t, 2, asked.Load())
				time.Sleep(time.Nanosecond)
				require.True(t, c.Put("agent", "ada", time.Now()), "what is asked from now on is welcome")
			})
		})
	}
}

func TestPutEndsADenial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		p.say("agent", errBad)
		c := ttlcache.New(p.load, settings{TTL: ttl, Denied: isBad, DenyTTL: time.Hour})
		_, err := c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, errBad)
		require.False(t, c.Put("agent", "ada", time.Now().Add(-1)), "the denial was asked for later")
		require.True(t, c.Put("agent", "ada", time.Now()))
		v, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		require.Equal(t, "ada", v)
		require.Zero(t, c.Stats().Denied)
	})
}

// 5,000 agents work while twenty times as many bad tokens come, each another.
func TestFloodDisplacesNoGoodVerdict(t *testing.T) {
	good, bad := 5000, 100_000
	if raceEnabled {
		bad = 20_000 // there are no two goroutines in it anyway
	}
	load := func(_ context.Context, i int) (int, error) {
		if i >= good {
			return 0, errBad
		}
		return i, nil
	}
	c := ttlcache.New(load, ttlcache.Config[int, int]{
		Key: func(h *ttlcache.Hash, i int) { h.Uint64(uint64(i)) },
		TTL: time.Hour, Denied: isBad, DenyTTL: time.Hour, MaxEntries: 10_000, MaxDenied: 1000,
	})
	for i := range good {
		_, err := c.Get(t.Context(), i)
		require.NoError(t, err)
	}
	for i := range bad {
		_, err := c.Get(t.Context(), good+i)
		require.ErrorIs(t, err, errBad)
	}
	for i := range good {
		_, ok := c.Peek(i)
		require.True(t, ok, "%d is lost", i)
	}
	s := c.Stats()
	require.Equal(t, good, s.Entries)
	require.LessOrEqual(t, s.Denied, 1000)
	require.Greater(t, s.Denied, 900)
	require.Zero(t, s.Evicted)
}

// A login that asked before a denial is not remembered, whatever became of the denial: it
// was never kept, has ended, or was displaced by others.
func TestPutFromBeforeADenial(t *testing.T) {
	for name, test := range map[string]struct {
		denyTTL time.Duration
		after   func(t *testing.T, c *ttlcache.Cache[string, string], p *provider)
	}{
		"not kept": {0, func(*testing.T, *ttlcache.Cache[string, string], *provider) {}},
		"ended":    {time.Second, func(*testing.T, *ttlcache.Cache[string, string], *provider) { aMinute() }},
		"displaced": {time.Hour, func(t *testing.T, c *ttlcache.Cache[string, string], p *provider) {
			for i := range 100 {
				token := fmt.Sprint(i)
				p.say(token, errBad)
				_, err := c.Get(t.Context(), token)
				require.ErrorIs(t, err, errBad)
			}
		}},
		"replaced": {time.Hour, func(t *testing.T, c *ttlcache.Cache[string, string], _ *provider) {
			require.True(t, c.Put("agent", "grace", time.Now()))
			require.Equal(t, 1, c.RevokeFunc(func(v string) bool { return v == "grace" }))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var p provider
				c := ttlcache.New(p.load, settings{TTL: time.Hour, Denied: isBad, DenyTTL: test.denyTTL, MaxDenied: 4})
				asked := time.Now()
				time.Sleep(time.Second)
				p.say("agent", errBad)
				_, err := c.Get(t.Context(), "agent")
				require.ErrorIs(t, err, errBad)
				denied := time.Now()
				test.after(t, c, &p)
				require.False(t, c.Put("agent", "ada", asked))
				require.True(t, c.Put("agent", "ada", denied), "at the same instant a Put wins")
			})
		})
	}
}
