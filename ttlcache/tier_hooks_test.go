package ttlcache_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// hooked is a tier in whose operations a test takes part.
type hooked struct {
	ttlcache.Tier
	gets, puts atomic.Int64
	get        func(ctx context.Context) error // before Get
	got        func(left *time.Duration)       // after Get
	put        func()                          // before Put
	follow     func(ctx context.Context, f func(ttlcache.Revocation, uint64)) error
}

func (h *hooked) Get(ctx context.Context, key [32]byte) ([]byte, time.Duration, uint64, error) {
	h.gets.Add(1)
	if h.get != nil {
		if err := h.get(ctx); err != nil {
			return nil, 0, 0, err
		}
	}
	sealed, left, lease, err := h.Tier.Get(ctx, key)
	if h.got != nil {
		h.got(&left)
	}
	return sealed, left, lease, err
}

func (h *hooked) Put(ctx context.Context, key [32]byte, lease uint64, sealed []byte, left time.Duration) error {
	h.puts.Add(1)
	if h.put != nil {
		h.put()
	}
	return h.Tier.Put(ctx, key, lease, sealed, left)
}

func (h *hooked) Follow(ctx context.Context, f func(ttlcache.Revocation, uint64)) error {
	if h.follow != nil {
		return h.follow(ctx, f)
	}
	return h.Tier.Follow(ctx, f)
}

// livesUntil requires that c has a verdict on token until then.
func livesUntil(t *testing.T, c *ttlcache.Cache[string, string], token string, end time.Time) {
	t.Helper()
	time.Sleep(time.Until(end) - 1)
	_, ok := c.Peek(token)
	require.True(t, ok, "it ended too early")
	time.Sleep(time.Nanosecond)
	_, ok = c.Peek(token)
	require.False(t, ok, "it lives too long")
}

// What the tier says is left is counted from when it was asked, whatever the clocks of the
// replicas say: a slow answer, or a tier that is ahead, only shortens a life, and one that
// says more than it was told prolongs none.
func TestLifeIsWhatTheTierSaysIsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		got  func(left *time.Duration)
		slow time.Duration // the answer
		life time.Duration // since the question
	}{
		"as it is":    {life: time.Minute},
		"slow answer": {slow: 40 * time.Millisecond, life: time.Minute},
		"half":        {got: func(left *time.Duration) { *left /= 2 }, life: 10*time.Second + 25*time.Second},
		"more":        {got: func(left *time.Duration) { *left = 1<<63 - 1 }, life: 10*time.Second + time.Minute},
	} {
		bubble(t, func(t *testing.T) {
			p, tier := &provider{}, ttlcachetest.NewTier()
			must(t, replica(t, p, tier), "x")
			asked := time.Now()
			time.Sleep(10 * time.Second)
			got := func(left *time.Duration) {
				time.Sleep(test.slow)
				if test.got != nil {
					test.got(left)
				}
			}
			b := replica(t, p, &hooked{Tier: tier, got: got}, func(c *settings) { c.TTL = time.Hour })
			must(t, b, "x")
			require.Equal(t, 1, p.asks("x"), name)
			livesUntil(t, b, "x", asked.Add(test.life))
		})
	}
}

func TestNoPutWithoutALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, &hooked{Tier: ttlcachetest.NewTier()}
		a := replica(t, p, tier)
		must(t, a, "warm up")
		require.EqualValues(t, 1, tier.puts.Load())
		tier.get = func(context.Context) error { return errAway }
		must(t, a, "x")
		tier.get = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		must(t, a, "y")
		require.EqualValues(t, 1, tier.puts.Load())
	})
}

// While all places of MaxLoads are taken the tier is asked, and what is not there waits.
func TestTierIsAskedWhileMaxLoadsIsReached(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, &hooked{Tier: ttlcachetest.NewTier()}
		must(t, replica(t, p, tier), "warm")
		p.took = 10 * time.Second
		b := replica(t, p, tier, func(c *settings) { c.MaxLoads = 1 })
		first, second := get(t.Context(), b, "first"), get(t.Context(), b, "second")
		synctest.Wait()
		asked := tier.gets.Load()
		began := time.Now()
		must(t, b, "warm")
		require.Zero(t, time.Since(began))
		require.Equal(t, asked+1, tier.gets.Load())
		require.EqualValues(t, 3, tier.gets.Load()-1, "second was looked for, too")
		_, _ = first.wait()
		_, _ = second.wait()
		require.EqualValues(t, 1, p.peak.Load())
	})
}

// Telling the tier takes no place either.
func TestPutTakesNoPlaceOfMaxLoads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{took: time.Second}, &hooked{Tier: ttlcachetest.NewTier()}
		tier.put = func() { time.Sleep(40 * time.Millisecond) }
		a := replica(t, p, tier, func(c *settings) { c.MaxLoads = 1 })
		first, second := get(t.Context(), a, "first"), get(t.Context(), a, "second")
		_, _ = first.wait()
		_, _ = second.wait()
		require.Equal(t, 2040*time.Millisecond, max(first.took, second.took))
	})
}

// After five failures in a row nobody asks for a while, and then one caller does. Each
// failure of that one doubles the while, up to four seconds.
func TestFailingTierIsProbedByOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, &hooked{Tier: ttlcachetest.NewTier()}
		c := replica(t, p, tier)
		must(t, c, "warm up")
		tier.get = func(context.Context) error { time.Sleep(time.Millisecond); return errAway }
		for i := range 5 {
			must(t, c, fmt.Sprint(i))
		}
		tier.gets.Store(0)
		var asked []time.Duration
		began := time.Now()
		for tick := 0; time.Since(began) < 20*time.Second; tick++ {
			before := tier.gets.Load()
			var crowd sync.WaitGroup
			for i := range 10 {
				crowd.Go(func() { _, _ = c.Get(context.Background(), fmt.Sprint("at ", tick, i)) })
			}
			crowd.Wait()
			if n := tier.gets.Load() - before; n > 0 {
				require.EqualValues(t, 1, n)
				asked = append(asked, time.Since(began).Round(50*time.Millisecond))
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, []time.Duration{
			250 * time.Millisecond, 750 * time.Millisecond, 1750 * time.Millisecond, 3750 * time.Millisecond,
			7750 * time.Millisecond, 11750 * time.Millisecond, 15750 * time.Millisecond, 19750 * time.Millisecond,
		}, asked)
	})
}

func TestCloseWaitsForFollow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var following atomic.Int64
		tier := &hooked{Tier: ttlcachetest.NewTier()}
		tier.follow = func(ctx context.Context, f func(ttlcache.Revocation, uint64)) error {
			following.Add(1)
			defer following.Add(-1)
			err := tier.Tier.Follow(ctx, f)
			time.Sleep(time.Second) // it ends what it has begun
			return err
		}
		c := replica(t, &provider{}, tier)
		require.NoError(t, c.WaitTier(t.Context()))
		require.EqualValues(t, 1, following.Load())
		c.Close()
		require.Zero(t, following.Load())
	})
}

func TestFollowThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tier := &hooked{Tier: ttlcachetest.NewTier()}
		panics := 3
		tier.follow = func(ctx context.Context, f func(ttlcache.Revocation, uint64)) error {
			if panics--; panics >= 0 {
				panic("follow")
			}
			return tier.Tier.Follow(ctx, f)
		}
		var failed atomic.Int64
		p := &provider{}
		c := replica(t, p, tier, func(c *settings) {
			c.OnEvent = func(e ttlcache.Event) {
				if e.Kind == ttlcache.TierFailed {
					failed.Add(1)
				}
			}
		})
		must(t, c, "x")
		require.NoError(t, c.WaitTier(t.Context()))
		require.EqualValues(t, 3, failed.Load())
	})
}

// An answer of the tier that comes when its heartbeat is too old is none.
func TestAnswerAfterTheLastHeartbeat(t *testing.T) {
	for _, test := range []struct {
		answer time.Duration // after the last heartbeat
		asks   int
	}{{1499 * time.Millisecond, 1}, {1501 * time.Millisecond, 2}} {
		bubble(t, func(t *testing.T) {
			p, tier := &provider{}, ttlcachetest.NewTier()
			must(t, replica(t, p, tier), "x")
			h := &hooked{Tier: tier, got: func(*time.Duration) { time.Sleep(20 * time.Millisecond) }}
			h.follow = func(ctx context.Context, f func(ttlcache.Revocation, uint64)) error {
				f(ttlcache.Revocation{All: true}, 1)
				f(ttlcache.Revocation{}, 1)
				<-ctx.Done()
				return ctx.Err()
			}
			b := replica(t, p, h)
			require.NoError(t, b.WaitTier(t.Context()))
			time.Sleep(test.answer - 20*time.Millisecond)
			must(t, b, "x")
			require.Equal(t, test.asks, p.asks("x"))
		})
	}
}

// What comes from the tier does not replace what was asked for later.
func TestTierDoesNotOverruleALaterAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		must(t, replica(t, p, tier), "x")
		time.Sleep(time.Second)
		h := &hooked{Tier: tier}
		b := replica(t, p, h)
		time.Sleep(time.Second) // the log began in this instant, with All
		h.got = func(*time.Duration) { require.True(t, b.Put("x", "user of x renamed", time.Now())) }
		p.say("x", errAway)
		_, err := b.Get(t.Context(), "x")
		require.NoError(t, err)
		v, ok := b.Peek("x")
		require.True(t, ok)
		require.Equal(t, "user of x renamed", v)
	})
}

// What was cleared here does not come back from a tier that was not told, also when its log
// tells of everything later on: that does not lift the fence.
func TestClearAndThenAllOfTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		h := &hooked{Tier: unrevoked{tier}}
		var tell func(ttlcache.Revocation, uint64)
		h.follow = func(ctx context.Context, f func(ttlcache.Revocation, uint64)) error {
			tell = f
			return tier.Follow(ctx, f)
		}
		a := replica(t, p, h)
		must(t, a, "x")
		time.Sleep(time.Second)
		a.Clear()
		tell(ttlcache.Revocation{All: true}, 1)
		must(t, a, "x")
		require.Equal(t, 2, p.asks("x"))
	})
}

// Without a heartbeat an expired verdict from the tier is not served over a failure, but
// one that the cache has asked for itself is.
func TestStaleVerdictFromTheTier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		link := tier.Link()
		stale := func(c *settings) { c.TTL, c.MaxStale = time.Second, time.Hour }
		a, b := replica(t, p, tier, stale), replica(t, p, link, stale)
		must(t, a, "x")
		must(t, b, "x")
		must(t, b, "own")
		p.say("x", errAway)
		p.say("own", errAway)
		time.Sleep(1100 * time.Millisecond)
		must(t, b, "x")
		link.Cut(true)
		time.Sleep(ttlcache.MaxLag)
		_, err := b.Get(t.Context(), "x")
		require.ErrorIs(t, err, errAway)
		must(t, b, "own")
	})
}

// A renewal that is denied ends the verdict in the tier and on the other replicas.
func TestDeniedRenewalRevokes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier, func(c *settings) { c.Refresh = 0.5 }), replica(t, p, tier)
		must(t, a, "x")
		must(t, b, "x")
		p.say("x", errBad)
		time.Sleep(31 * time.Second)
		must(t, a, "x") // this hit begins the renewal
		synctest.Wait()
		_, ok := b.Peek("x")
		require.False(t, ok)
		require.Zero(t, tier.Stats().Kept)
		denied(t, b, "x")
		denied(t, a, "x")
	})
}

// Two secrets on one tier: no verdict is shared, and each cache is as one without a tier.
func TestReplicasWithTwoSecrets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		b := replica(t, p, tier, func(c *settings) { c.Secret = []byte(strings.Repeat("other", 8)) })
		must(t, a, "x")
		must(t, b, "x")
		require.Equal(t, 2, p.asks("x"))
		a.Revoke("x")
		time.Sleep(time.Millisecond)
		_, ok := b.Peek("x")
		require.True(t, ok, "it is another key there")
		a.Clear()
		time.Sleep(time.Millisecond)
		_, ok = b.Peek("x")
		require.False(t, ok)
	})
}
