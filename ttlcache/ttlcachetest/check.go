package ttlcachetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// CheckTier fails tb if tier breaks a law of ttlcache.Tier on leases, revocations or
// followers. It takes less than two seconds, uses keys of its own, and revokes everything
// in the end: give it no tier that is in use.
func CheckTier(tb testing.TB, tier ttlcache.Tier) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	c := checker{tb, ctx, tier}
	c.values()
	c.leases()
	c.follow()
	c.all()
	c.ends()
}

type checker struct {
	tb   testing.TB
	ctx  context.Context
	tier ttlcache.Tier
}

func (c checker) need(ok bool, law string, args ...any) {
	c.tb.Helper()
	if !ok {
		c.tb.Fatalf("ttlcachetest: "+law, args...)
	}
}

func (c checker) key() (k [32]byte) {
	_, _ = rand.Read(k[:])
	return k
}

// lease returns a lease on k, which must not be kept.
func (c checker) lease(k [32]byte) uint64 {
	c.tb.Helper()
	sealed, _, lease, err := c.tier.Get(c.ctx, k)
	c.need(err == nil, "Get: %v", err)
	c.need(sealed == nil, "Get found %q under a key that is not kept", sealed)
	c.need(lease != 0, "Get gave the lease 0 with a miss")
	return lease
}

func (c checker) put(k [32]byte, lease uint64, sealed string, left time.Duration) {
	c.tb.Helper()
	err := c.tier.Put(c.ctx, k, lease, []byte(sealed), left)
	c.need(err == nil, "Put under a lease: %v", err)
}

func (c checker) refused(k [32]byte, lease uint64, why string) {
	c.tb.Helper()
	err := c.tier.Put(c.ctx, k, lease, []byte("late"), time.Minute)
	c.need(errors.Is(err, ttlcache.ErrNoLease), "Put %s: %v, not ErrNoLease", why, err)
	c.lease(k)
}

func (c checker) revoke(r ttlcache.Revocation) {
	c.tb.Helper()
	err := c.tier.Revoke(c.ctx, r)
	c.need(err == nil, "Revoke: %v", err)
}

func (c checker) values() {
	c.tb.Helper()
	k, text := c.key(), "any\x00bytes\n\xff:1"
	c.put(k, c.lease(k), text, time.Minute)
	sealed, left, lease, err := c.tier.Get(c.ctx, k)
	c.need(err == nil && bytes.Equal(sealed, []byte(text)), "Get after Put: %q, %v", sealed, err)
	c.need(left > 0 && left <= time.Minute, "Get says that %v of a minute is left", left)
	if lease != 0 {
		c.put(k, lease, "newer", time.Minute)
		sealed, _, _, _ = c.tier.Get(c.ctx, k)
		c.need(string(sealed) == "newer", "Put under the lease of a hit did not replace: %q", sealed)
	}
}

func (c checker) leases() {
	c.tb.Helper()
	k, other := c.key(), c.key()
	c.refused(k, 1, "under a lease that nobody gave")
	old := c.lease(k)
	c.refused(other, old+1, "under the lease of another key")
	c.revoke(ttlcache.Revocation{Keys: [][32]byte{other, k}})
	c.refused(k, old, "under a lease given before the key was revoked")
	c.need(c.lease(k) > old, "a lease after a revocation is not greater than one before")
	c.put(k, c.lease(k), "x", time.Minute)
	c.revoke(ttlcache.Revocation{Keys: [][32]byte{k}})
	c.lease(k)
}

type told struct {
	r  ttlcache.Revocation
	at uint64
}

func (c checker) follow() {
	c.tb.Helper()
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	news, ended := make(chan told, 1024), make(chan error, 1)
	go func() {
		ended <- c.tier.Follow(ctx, func(r ttlcache.Revocation, at uint64) { news <- told{r, at} })
	}()
	first := <-news
	c.need(first.r.All, "the first thing that Follow tells is not All")
	wait := func(match func(ttlcache.Revocation) bool, within time.Duration, law string) told {
		c.tb.Helper()
		late := time.After(within)
		for {
			select {
			case n := <-news:
				if match(n.r) {
					return n
				}
			case <-late:
				c.need(false, law)
			}
		}
	}
	beat := func(r ttlcache.Revocation) bool { return !r.All && len(r.Keys)+len(r.Tags) == 0 }
	wait(beat, 2*time.Second, "no heartbeat")
	k, tag := c.key(), c.key()
	before := c.lease(k)
	r := ttlcache.Revocation{Keys: [][32]byte{k, c.key()}, Tags: [][32]byte{tag}}
	c.revoke(r)
	after := c.lease(k)
	n := wait(func(r ttlcache.Revocation) bool { return len(r.Keys) == 2 && r.Keys[0] == k }, 2*time.Second, "a revocation was not told")
	c.need(len(n.r.Tags) == 1 && n.r.Tags[0] == tag && n.r.Keys[1] == r.Keys[1] && !n.r.All, "a revocation was told wrongly: %v", n.r)
	c.need(before < n.at && n.at <= after, "positions out of order: lease %d, revocation %d, lease %d", before, n.at, after)
	for range 3 {
		wait(beat, time.Second, "no heartbeat within half a second")
	}
	cancel()
	c.need(<-ended != nil, "Follow returned nil when its context ended")
}

func (c checker) all() {
	c.tb.Helper()
	k, kept := c.key(), c.key()
	c.put(kept, c.lease(kept), "x", time.Minute)
	lease := c.lease(k)
	c.revoke(ttlcache.Revocation{All: true})
	c.lease(kept)
	c.refused(k, lease, "under a lease given before everything was revoked")
}

func (c checker) ends() {
	c.tb.Helper()
	done, cancel := context.WithCancel(c.ctx)
	cancel()
	k := c.key()
	_, _, _, err := c.tier.Get(done, k)
	c.need(err != nil, "Get with a context that is done")
	c.need(c.tier.Put(done, k, 1, nil, time.Minute) != nil, "Put with a context that is done")
	c.need(c.tier.Revoke(done, ttlcache.Revocation{All: true}) != nil, "Revoke with a context that is done")
	c.need(c.tier.Follow(done, func(ttlcache.Revocation, uint64) {}) != nil, "Follow with a context that is done")
}
