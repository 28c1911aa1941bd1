package ttlcache

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// RevokeContext is Revoke, and returns the error of the [Tier] if it could not be told
// before ctx was done, or within [MaxLag]. Then it has still been done here, and the cache
// goes on trying to tell the others until Close. Without a Tier the error is nil.
func (c *Cache[C, V]) RevokeContext(ctx context.Context, cred C) error {
	k, ok := c.digest(cred)
	if !ok {
		return ErrNoKey
	}
	c.revokeKey(k, false)
	return c.spread(ctx, MaxLag, Revocation{Keys: [][32]byte{k}})
}

// RevokeTag forgets every positive verdict that has tag among its [Config.Tags], here and
// in all caches that share the [Tier]: that is how to end all sessions of a user. It holds
// as RevokeFunc does, and returns an error as RevokeContext does. It panics without
// Config.Tags.
func (c *Cache[C, V]) RevokeTag(ctx context.Context, tag string) error {
	if c.config.Tags == nil {
		panic("ttlcache: RevokeTag without Config.Tags")
	}
	if c.share == nil {
		c.revokeWhere(func(v V) bool { return slices.Contains(c.config.Tags(v), tag) }, false)
		return nil
	}
	r := Revocation{Tags: [][32]byte{c.tag(tag)}}
	c.revokeTags(r.Tags, false)
	return c.spread(ctx, MaxLag, r)
}

// WaitTier returns when the cache hears of the revocations of the others for the first
// time: what the [Tier] keeps is used from then on. A server that waits for it, for a second
// or so, before it opens its port begins with a warm cache. It returns nil without a Tier,
// the end of ctx with its cause, or an error that is context.Canceled after Close.
func (c *Cache[C, V]) WaitTier(ctx context.Context) error {
	if c.share == nil {
		return nil
	}
	select {
	case <-c.share.heard:
		return nil
	default:
	}
	select {
	case <-c.share.heard:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	case <-c.share.ctx.Done():
		return contextError(c.share.ctx)
	}
}

// Close stops following the [Tier], with which the cache goes on as without one. A cache
// without a Tier need not be closed. A second Close does nothing.
func (c *Cache[C, V]) Close() {
	if c.share == nil {
		return
	}
	c.share.mu.Lock()
	c.share.stop()
	c.share.mu.Unlock()
	c.share.beat.Store(int64(-aliveFor))
	c.share.work.Wait()
}

func (c *Cache[C, V]) tag(tag string) [32]byte {
	h := c.share.hasher.begin()
	h.String(tag)
	d, _ := c.share.hasher.end(h)
	return d
}

func (c *Cache[C, V]) tagsOf(v V) (tags [][32]byte) {
	if c.config.Tags == nil {
		return nil
	}
	for _, t := range c.config.Tags(v) {
		tags = append(tags, c.tag(t))
	}
	return tags
}

// revokeTags ends here what has one of the tags.
func (c *Cache[C, V]) revokeTags(tags [][32]byte, log bool) {
	if c.config.Tags == nil {
		return
	}
	c.revokeWhere(func(v V) bool {
		return slices.ContainsFunc(c.tagsOf(v), func(t [32]byte) bool { return slices.Contains(tags, t) })
	}, log)
}

// follow is the goroutine that hears of the revocations of others.
func (c *Cache[C, V]) follow() {
	const least, most = 50 * time.Millisecond, time.Second
	for wait := least; ; wait = min(2*wait, most) {
		before := c.share.beat.Load()
		err := guard(func() error { return c.share.tier.Follow(c.share.ctx, c.told) })
		if c.share.ctx.Err() != nil || err == nil {
			return
		}
		c.tierFailed(err)
		if c.share.beat.Load() != before {
			wait = least
		}
		if !c.share.pause(wait) {
			return
		}
	}
}

// pause waits about d, and reports false if the cache was closed.
func (s *sharing[V]) pause(d time.Duration) bool {
	t := time.NewTimer(d - time.Duration(rand.Int64N(int64(d)/2)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// told is called for each entry of the log. What it says is done when it returns.
func (c *Cache[C, V]) told(r Revocation, at uint64) {
	denial := c.share.isDenial(r)
	if denial {
		r.Tags = nil
	}
	c.share.fences.add(r, at) // first: what is found from now on has been asked for before
	switch {
	case r.All:
		c.endAll()
		return
	case denial:
		for _, k := range r.Keys {
			c.deniedElsewhere(k)
		}
		return
	case len(r.Keys)+len(r.Tags) == 0:
		c.share.beaten()
		return
	}
	for _, k := range r.Keys {
		c.revokeKey(k, true)
	}
	if len(r.Tags) > 0 {
		c.revokeTags(r.Tags, true)
	}
}

// denial is what the log is told of credentials that were denied: a revocation whose only
// tag is one that no verdict has.
func (s *sharing[V]) denial(keys ...[32]byte) Revocation {
	return Revocation{Keys: keys, Tags: [][32]byte{s.denied}}
}

func (s *sharing[V]) isDenial(r Revocation) bool { return len(r.Tags) == 1 && r.Tags[0] == s.denied }

// spread tells the tier, for at most that long, and puts off what it could not tell.
func (c *Cache[C, V]) spread(ctx context.Context, within time.Duration, r Revocation) error {
	if c.share == nil {
		return nil
	}
	if len(r.Keys) > maxOutbox { // no log has to take more at once
		r = Revocation{All: true}
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := c.share.revoke(ctx, r)
	if err != nil {
		c.tierFailed(err)
		c.putOff(r)
	}
	return err
}

// putOff leaves r to the sender.
func (c *Cache[C, V]) putOff(r Revocation) {
	c.share.outbox.add(r, c.share.isDenial(r))
	c.send()
}

// revoke returns when ctx is done, be it that the tier ignores it.
func (s *sharing[V]) revoke(ctx context.Context, r Revocation) error {
	if s.ctx.Err() != nil {
		return contextError(s.ctx)
	}
	done := make(chan error, 1)
	go func() { done <- guard(func() error { return s.tier.Revoke(ctx, r) }) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// spreadSoon is spread for callers who get no error. They wait for a tier that works, so
// that what is revoked here when they return is revoked there as well.
func (c *Cache[C, V]) spreadSoon(r Revocation) {
	if c.share == nil || !r.All && len(r.Keys) == 0 {
		return
	}
	if c.share.alive(c.now()) {
		_ = c.spread(context.Background(), tierTimeout, r)
		return
	}
	c.putOff(r)
}
