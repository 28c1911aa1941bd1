package ttlcachetest_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

var key = [32]byte{1, 2, 3}

func TestTierKeepsTheLaws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ttlcachetest.CheckTier(t, ttlcachetest.NewTier())
		ttlcachetest.CheckTier(t, ttlcachetest.NewTier().Link())
	})
}

// A check that finds nothing wrong with a tier that breaks a law checks nothing.
func TestCheckTierFindsFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := ttlcachetest.NewTier()
		tier.Break(ttlcachetest.NoLease)
		require.True(t, fails(t, tier), "a tier without leases")
		tier.Break(0)
		require.False(t, fails(t, tier))
		tier.Down(true)
		require.True(t, fails(t, tier), "a tier that is down")
	})
}

// fails reports whether CheckTier finds a fault.
func fails(t *testing.T, tier ttlcache.Tier) bool {
	p := &probe{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ttlcachetest.CheckTier(p, tier)
	}()
	<-done
	return p.failed
}

// A probe is a test that notes that it failed.
type probe struct {
	testing.TB
	failed bool
}

func (p *probe) Fatalf(string, ...any) {
	p.failed = true
	runtime.Goexit()
}

func TestTierForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := ttlcachetest.NewTier()
		_, _, lease, err := tier.Get(t.Context(), key)
		require.NoError(t, err)
		require.NoError(t, tier.Put(t.Context(), key, lease, []byte("x"), time.Second))
		time.Sleep(time.Second)
		sealed, _, next, err := tier.Get(t.Context(), key)
		require.NoError(t, err)
		require.Nil(t, sealed, "its life is over")
		tier.Flush()
		require.ErrorIs(t, tier.Put(t.Context(), key, next, []byte("x"), time.Second), ttlcache.ErrNoLease, "lost memory")
		_, _, next, _ = tier.Get(t.Context(), key)
		tier.Evict()
		require.ErrorIs(t, tier.Put(t.Context(), key, next, []byte("x"), time.Second), ttlcache.ErrNoLease, "evicted")
		s := tier.Stats()
		require.EqualValues(t, 1, s.Puts)
		require.EqualValues(t, 2, s.Refused)
		require.EqualValues(t, 1, s.Flushed)
		require.EqualValues(t, 3, s.Gets)
		require.Zero(t, s.Hits)
		require.Zero(t, s.Kept)
	})
}

func TestTierSlowAndDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := ttlcachetest.NewTier()
		tier.Delay(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _, _, err := tier.Get(ctx, key)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		began := time.Now()
		_, _, _, err = tier.Get(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(began))
		tier.Delay(0)
		tier.Down(true)
		require.ErrorIs(t, tier.Revoke(t.Context(), ttlcache.Revocation{All: true}), ttlcachetest.ErrDown)
		require.ErrorIs(t, tier.Follow(t.Context(), func(ttlcache.Revocation, uint64) {}), ttlcachetest.ErrDown)
	})
}

func TestLinkThatIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := ttlcachetest.NewTier()
		link := tier.Link()
		ctx, cancel := context.WithCancel(t.Context())
		var beats, keys, all int
		done := make(chan error)
		go func() {
			done <- link.Follow(ctx, func(r ttlcache.Revocation, _ uint64) {
				switch {
				case r.All:
					all++
				case len(r.Keys) > 0:
					keys++
				default:
					beats++
				}
			})
		}()
		synctest.Wait()
		require.Equal(t, 1, all)
		require.Equal(t, 1, beats)
		link.Cut(true)
		require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{Keys: [][32]byte{key}}))
		short, stop := context.WithTimeout(t.Context(), time.Minute)
		_, _, _, err := link.Get(short, key)
		stop()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, beats)
		require.Zero(t, keys)
		link.Cut(false)
		synctest.Wait()
		require.Equal(t, 1, keys, "nothing is lost that happened meanwhile")
		link.Cut(true)
		tier.Flush()
		link.Cut(false)
		synctest.Wait()
		require.Equal(t, 2, all, "lost memory is everything")
		tier.Close()
		require.NoError(t, <-done)
		cancel()
	})
}

func TestLinkThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := ttlcachetest.NewTier()
		link := tier.Link()
		_, _, lease, _ := link.Get(t.Context(), key)
		require.NoError(t, link.Put(t.Context(), key, lease, []byte("x"), time.Minute))
		link.Lag(true)
		require.NoError(t, link.Revoke(t.Context(), ttlcache.Revocation{Keys: [][32]byte{key}}))
		sealed, _, _, _ := link.Get(t.Context(), key)
		require.Equal(t, []byte("x"), sealed)
		link.Lag(false)
		sealed, _, _, _ = link.Get(t.Context(), key)
		require.Nil(t, sealed)
	})
}

func TestTamper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := ttlcachetest.NewTier()
		_, _, lease, _ := tier.Get(t.Context(), key)
		require.NoError(t, tier.Put(t.Context(), key, lease, []byte("x"), time.Hour))
		other := [32]byte{9}
		tier.Tamper(func(kept map[[32]byte][]byte) {
			kept[other] = kept[key]
			kept[key] = []byte("y")
		})
		sealed, left, _, _ := tier.Get(t.Context(), key)
		require.Equal(t, []byte("y"), sealed)
		require.Equal(t, time.Hour, left)
		sealed, left, _, _ = tier.Get(t.Context(), other)
		require.Equal(t, []byte("x"), sealed)
		require.Equal(t, time.Minute, left)
	})
}
