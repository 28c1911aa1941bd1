package ttlcache_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// number is a cache of numbers that are denied below zero.
func number(cfg ttlcache.Config[int, int]) *ttlcache.Cache[int, int] {
	cfg.Key = func(h *ttlcache.Hash, i int) { h.Uint64(uint64(int64(i))) }
	cfg.Denied, cfg.DenyTTL = isBad, time.Hour
	if cfg.TTL == 0 {
		cfg.TTL = time.Hour
	}
	return ttlcache.New(func(_ context.Context, i int) (int, error) {
		if i < 0 {
			return 0, errBad
		}
		return i, nil
	}, cfg)
}

func TestBudgetsAreExactAndUsable(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 31, 32, 63, 64, 65, 100, 127, 128, 1000, 2051} {
		c := number(ttlcache.Config[int, int]{MaxEntries: n, MaxDenied: n})
		for i := 1; i <= n; i++ {
			_, _ = c.Get(t.Context(), i)
			_, _ = c.Get(t.Context(), -i)
		}
		require.GreaterOrEqual(t, c.Len(), (n+1)/2, n)
		require.GreaterOrEqual(t, c.Stats().Denied, (n+1)/2, n)
		for i := n + 1; i <= 4*n; i++ {
			_, _ = c.Get(t.Context(), i)
			_, _ = c.Get(t.Context(), -i)
			if i%16 == 0 {
				require.LessOrEqual(t, c.Len(), n)
			}
		}
		s := c.Stats()
		require.Equal(t, n, s.Denied)
		require.Equal(t, n, s.Entries)
		require.Equal(t, uint64(3*n), s.Evicted)
	}
}

// What is used stays, what is used once goes.
func TestSieveKeepsWhatIsUsed(t *testing.T) {
	c := number(ttlcache.Config[int, int]{MaxEntries: 16})
	for i := range 8 {
		require.True(t, c.Put(i, i, time.Now()))
	}
	for i := 100; i < 1000; i++ {
		for j := range 8 {
			_, err := c.Get(t.Context(), j)
			require.NoError(t, err)
		}
		require.True(t, c.Put(i, i, time.Now()))
	}
	s := c.Stats()
	require.Zero(t, s.Loads, "none of the eight had to be asked for again")
	require.EqualValues(t, 900-8, s.Evicted)
}

// What can no longer be served goes before what can, though it was used.
// A Peek is no use: what nothing else asks for goes first.
func TestPeekKeepsNothing(t *testing.T) {
	c := number(ttlcache.Config[int, int]{MaxEntries: 2})
	require.True(t, c.Put(1, 1, time.Now()))
	require.True(t, c.Put(2, 2, time.Now()))
	_, ok := c.Peek(1)
	require.True(t, ok)
	require.True(t, c.Put(3, 3, time.Now()))
	_, ok = c.Peek(1)
	require.False(t, ok)
	_, ok = c.Peek(2)
	require.True(t, ok)
}

func TestSievePrefersTheDead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := number(ttlcache.Config[int, int]{MaxEntries: 16, Jitter: -1, TTL: ttl})
		use := func(i int) {
			for range 2 {
				_, err := c.Get(t.Context(), i)
				require.NoError(t, err)
			}
		}
		for i := range 8 {
			use(i)
		}
		time.Sleep(ttl) // of the synctest bubble
		for i := range 16 {
			require.True(t, c.Put(100+i, i, time.Now())) // and not used
		}
		for i := range 16 {
			_, ok := c.Peek(100 + i)
			require.True(t, ok)
		}
		require.Zero(t, c.Stats().Evicted, "nobody misses the dead")
	})
}

// The map of a sieve knows a part of each digest; the entry decides.
func TestDigestsThatShareAPart(t *testing.T) {
	require.Equal(t, []bool{true, false}, ttlcache.FindTwins(1))
	require.Equal(t, []bool{false, true}, ttlcache.FindTwins(2))
}

// A fixed and skewed load: SIEVE must be clearly better than chance and not worse
// than LRU, which the simulation below is.
func TestHitRatio(t *testing.T) {
	const keys, room, gets = 5000, 500, 50_000
	c := number(ttlcache.Config[int, int]{MaxEntries: room})
	z := zipf(keys, 1.01)
	lru := newLRU(room)
	for range gets {
		i := int(z())
		_, _ = c.Get(t.Context(), i)
		lru.get(i)
	}
	ours := float64(c.Stats().Hits) / gets
	theirs := float64(lru.hits) / gets
	t.Logf("hit ratio %.3f, LRU %.3f", ours, theirs)
	require.Greater(t, ours, theirs)
}

func TestNoGoroutineWhileIdle(t *testing.T) {
	before := runtime.NumGoroutine()
	var kept []any
	for i := range 100 {
		c := ttlcache.New(new(provider).load, settings{TTL: time.Hour, Denied: isBad, DenyTTL: time.Hour, Refresh: 0.5, MaxStale: time.Hour})
		_, err := c.Get(t.Context(), fmt.Sprint(i))
		require.NoError(t, err)
		kept = append(kept, c)
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, time.Millisecond)
	runtime.KeepAlive(kept)
}
