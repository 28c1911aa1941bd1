package ttlcache_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// crowd asks c for n tokens at once, and returns how long each took.
func crowd(t *testing.T, c *ttlcache.Cache[string, string], name string, n int) (took []time.Duration) {
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = get(t.Context(), c, fmt.Sprint(name, i))
	}
	for _, g := range calls {
		_, err := g.wait()
		require.NoError(t, err)
		took = append(took, g.took)
	}
	slices.Sort(took)
	return took
}

// A crowd of warm agents, as after the restart of a replica, waits for its turn at a tier
// that is not quick: the authenticator would need much longer.
func TestCrowdWaitsForTheTier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		require.NoError(t, a.WaitTier(t.Context()))
		time.Sleep(time.Second) // the order within an instant is unknown
		for i := range 900 {
			must(t, a, fmt.Sprint("agent", i))
		}
		b := replica(t, p, tier)
		require.NoError(t, b.WaitTier(t.Context()))
		time.Sleep(time.Second)
		tier.Delay(30 * time.Millisecond)
		took := crowd(t, b, "agent", 900)
		require.EqualValues(t, 900, b.Stats().Shared)
		require.Zero(t, b.Stats().Loads)
		require.Equal(t, 15*30*time.Millisecond, took[899], "64 at a time")
	})
}

// It waits for half a second at most.
func TestCrowdDoesNotWaitForLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		b := replica(t, p, tier, func(c *settings) { c.MaxLoads = -1 })
		require.NoError(t, b.WaitTier(t.Context()))
		tier.Delay(45 * time.Millisecond)
		took := crowd(t, b, "agent", 2000)
		require.Equal(t, 500*time.Millisecond, took[1000])
		require.LessOrEqual(t, took[1999], 600*time.Millisecond, "and for a lookup that has begun, and a Put")
	})
}

// With a tier that hangs it waits no longer than one lookup takes, and then nobody waits.
func TestCrowdDoesNotWaitForADeadTier(t *testing.T) {
	for name, tier := range map[string]func(ttlcache.Tier) ttlcache.Tier{
		"hangs": func(tier ttlcache.Tier) ttlcache.Tier {
			return &hooked{Tier: tier, get: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		},
		"ignores its context": func(tier ttlcache.Tier) ttlcache.Tier { return deaf{tier} },
	} {
		bubble(t, func(t *testing.T) {
			p := &provider{}
			c := replica(t, p, tier(ttlcachetest.NewTier()))
			require.NoError(t, c.WaitTier(t.Context()))
			took := crowd(t, c, "agent", 1000)
			require.Equal(t, 50*time.Millisecond, took[900], name)
			require.LessOrEqual(t, took[999], 100*time.Millisecond, "one that got a place before the fifth failure")
			took = crowd(t, c, "again", 1000)
			require.Zero(t, took[999], name)
			c.Close()
			time.Sleep(2 * time.Hour)
		})
	}
}

// Each place is taken by a lookup that never returns: after five have waited in vain nobody
// does for a while.
func TestTierWithoutPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &provider{}
		c := replica(t, p, deaf{ttlcachetest.NewTier()})
		require.NoError(t, c.WaitTier(t.Context()))
		crowd(t, c, "fills the places ", 64)
		time.Sleep(time.Second)
		waited := 0
		for i := range 1000 {
			took := crowd(t, c, fmt.Sprint("later ", i), 10)
			if took[9] > 0 {
				waited++
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.Less(t, waited, 9, "the pauses become longer, up to four seconds")
		c.Close()
		time.Sleep(2 * time.Hour)
	})
}

// A tier that stood still once is asked again a quarter of a second later, however many
// lookups were under way.
func TestTierThatStoodStillOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		must(t, replica(t, p, tier), "warm")
		c := replica(t, p, tier)
		require.NoError(t, c.WaitTier(t.Context()))
		time.Sleep(time.Second)
		tier.Delay(time.Second)
		crowd(t, c, "agent", 64)
		tier.Delay(0)
		require.Zero(t, crowd(t, c, "again", 10)[9])
		require.Zero(t, c.Stats().Shared)
		time.Sleep(250 * time.Millisecond)
		must(t, c, "warm")
		require.EqualValues(t, 1, c.Stats().Shared)
	})
}

// A crowd without an end does not pile up.
func TestCrowdIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		b := replica(t, p, tier, func(c *settings) { c.MaxLoads = -1 })
		require.NoError(t, b.WaitTier(t.Context()))
		tier.Delay(45 * time.Millisecond)
		took := crowd(t, b, "agent", 64+4096+100)
		require.Zero(t, took[99])
		require.Positive(t, took[100])
	})
}
