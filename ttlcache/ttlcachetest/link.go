package ttlcachetest

import (
	"context"
	"maps"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A Link is the access of one cache to a [Tier]: give each cache a link of its own to cut one
// of them off.
type Link struct {
	tier *Tier

	// The tier's lock guards these.
	cut  bool
	copy map[[32]byte]value // what Get reads; nil is the tier itself
}

// Link returns a new link to t, which works.
func (t *Tier) Link() *Link { return &Link{tier: t} }

// Cut cuts the link or mends it. While it is cut operations get no answer until their
// context is done, and the follower hears nothing, as with packets that vanish. An
// operation that was on its way counts as answered.
func (l *Link) Cut(cut bool) { l.tier.set(func() { l.cut = cut }) }

// Lag makes Get read from a copy of the tier as it is now, as from a replica of the store
// that has fallen behind, or no longer.
func (l *Link) Lag(lag bool) {
	l.tier.set(func() {
		l.copy = nil
		if lag {
			l.copy = maps.Clone(l.tier.memory.values)
		}
	})
}

// Get implements ttlcache.Tier.
func (l *Link) Get(ctx context.Context, key [32]byte) ([]byte, time.Duration, uint64, error) {
	if err := l.pass(ctx); err != nil {
		return nil, 0, 0, err
	}
	if err := l.tier.enter(ctx); err != nil {
		return nil, 0, 0, err
	}
	defer l.tier.mu.Unlock()
	if l.copy != nil {
		return l.tier.getLocked(key, l.copy)
	}
	return l.tier.getLocked(key, l.tier.memory.values)
}

// Put implements ttlcache.Tier.
func (l *Link) Put(ctx context.Context, key [32]byte, lease uint64, sealed []byte, left time.Duration) error {
	if err := l.pass(ctx); err != nil {
		return err
	}
	return l.tier.Put(ctx, key, lease, sealed, left)
}

// Revoke implements ttlcache.Tier.
func (l *Link) Revoke(ctx context.Context, r ttlcache.Revocation) error {
	if err := l.pass(ctx); err != nil {
		return err
	}
	return l.tier.Revoke(ctx, r)
}

// Follow implements ttlcache.Tier.
func (l *Link) Follow(ctx context.Context, f func(ttlcache.Revocation, uint64)) error {
	return l.tier.follow(ctx, func() bool { return l.cut }, f)
}

// pass returns when the link is not cut, or with an error when ctx is done.
func (l *Link) pass(ctx context.Context) error {
	for {
		l.tier.mu.Lock()
		cut, changed := l.cut, l.tier.changed
		l.tier.mu.Unlock()
		if !cut {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var _ ttlcache.Tier = (*Link)(nil)
