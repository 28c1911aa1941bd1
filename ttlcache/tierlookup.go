package ttlcache

import (
	"context"
	"errors"
	"runtime/debug"
	"time"
)

// errSealed is the error of an event: somebody else wrote what the tier has, or under
// another secret.
var errSealed = errors.New("ttlcache: what the tier keeps was not sealed under Config.Secret for this credential")

func newPanicError(r any) *PanicError { return &PanicError{r, debug.Stack()} }

// askTierUnlock asks the tier before the load, and unlocks the shard. It takes no place
// of MaxLoads.
func (c *Cache[C, V]) askTierUnlock(ctx context.Context, f *flight[V]) {
	f.early, f.patient = true, patience(ctx)
	f.shard.flights[f.key] = f
	f.shard.mu.Unlock()
	go c.askTier(f)
}

// askTier gives the verdict of the tier to all who wait, or asks for admission.
func (c *Cache[C, V]) askTier(f *flight[V]) {
	if c.lookUp(f) {
		f.release()
		return
	}
	s := f.shard
	s.mu.Lock()
	if f.settled || f.waiters == 0 && !f.background {
		f.settleLocked(result[V]{}) // nobody waits
		s.mu.Unlock()
		f.release()
		return
	}
	done, err := c.admission.enter(&f.ticket)
	alone := f.waiters == 0
	if err != nil && alone {
		f.settleLocked(result[V]{})
	}
	f.early = false
	s.mu.Unlock()
	done.tell()
	switch {
	case err != nil && alone:
		f.release() // nobody was turned away
	case err != nil:
		c.turnAway(f, err)
	case f.background:
		c.counters.refreshed.Add(1)
	}
}

// joinLocked adds a caller who waits until patient. While the tier is asked, the admission
// does not know f yet.
func (c *Cache[C, V]) joinLocked(f *flight[V], patient time.Time) {
	switch {
	case !f.early:
		c.admission.join(&f.ticket, patient)
	case f.lane == laneRenewal:
		f.lane, f.patient = laneKnown, patient
	case patient.IsZero() || !f.patient.IsZero() && patient.After(f.patient):
		f.patient = patient
	}
}

// lookUp asks the tier, and reports whether f has its result from there.
func (c *Cache[C, V]) lookUp(f *flight[V]) bool {
	type found struct {
		sealed []byte
		left   time.Duration
		lease  uint64
	}
	answer := make(chan found, 1)
	var sent instant
	called, err := c.share.within(f.ctx, func(ctx context.Context) error {
		sent = c.now()
		sealed, left, lease, err := c.share.tier.Get(ctx, f.key)
		answer <- found{sealed, left, lease}
		return err
	})
	if !called {
		return false
	}
	c.share.breaker.note(err != nil, c.now())
	if err != nil {
		c.tierFailed(err)
		return false
	}
	a := <-answer
	f.lease = a.lease
	if a.sealed == nil {
		return false
	}
	adopted := false
	if err := guard(func() (err error) {
		adopted, err = c.adopt(f, a.sealed, a.left, sent)
		return err
	}); err != nil {
		c.tierFailed(err)
	}
	return adopted
}

// adopt takes over what the tier keeps under f's key, asked at sent, and reports whether
// it may be used.
func (c *Cache[C, V]) adopt(f *flight[V], sealed []byte, left time.Duration, sent instant) (bool, error) {
	p, ok := c.share.sealer.open(f.key, sealed)
	if !ok {
		return false, errSealed
	}
	if p.version != c.share.codec.Version {
		return false, nil
	}
	v, err := c.share.codec.Decode(p.body)
	if err != nil {
		return false, err
	}
	life, age := p.remaining(left, time.Now())
	e := c.entry(f.key, question{at: sent.add(-age), sealed: true}, v, c.end(v))
	e.shared = true
	c.shorten(e, sent.add(life))
	return c.settleShared(f, e, p.at), nil
}

// shorten makes e expire at end, if it does not before.
func (c *Cache[C, V]) shorten(e *entry[V], end instant) {
	if end >= e.expires {
		return
	}
	e.dead = min(e.dead, end.add(max(0, c.config.MaxStale)))
	e.expires = end
	e.renew.Store(int64(c.due(e)))
}

// settleShared gives e to all who wait, unless it has been revoked, by the log or here,
// or is of no use.
func (c *Cache[C, V]) settleShared(f *flight[V], e *entry[V], at uint64) bool {
	s, q := f.shard, question{at: e.asked, sealed: true}
	tags := c.tagsOf(e.value)
	stopped := c.lockJudged(s, q, e.value) || s.cleared.stops(q) || s.bars.stop(&e.key, q)
	now := c.now()
	// The log is looked at under the lock: what it tells from now on ends e.
	if stopped || c.share.fences.stop(at, e.key, tags) || !c.share.alive(now) || now >= e.expires ||
		c.supersededLocked(s, e.key, q) || !c.longer(f, e) {
		s.mu.Unlock()
		return false
	}
	c.denials.remove(e.key)
	victim := c.putLocked(s, e)
	c.counters.shared.Add(1) // before a caller can look
	f.settleLocked(result[V]{v: e.value})
	s.mu.Unlock()
	c.evicted(victim)
	return true
}

// longer reports whether e is worth having for f: a renewal is for more life than there is.
func (c *Cache[C, V]) longer(f *flight[V], e *entry[V]) bool {
	const share = 8 // of TTL
	old := f.shard.verdicts.get(&e.key)
	return !f.background || old == nil || e.expires > old.expires.add(c.config.TTL/share)
}

// offer gives what a load has said to the tier, before anybody else: who asks another
// replica next finds it. A denial is not kept there: it ends what is.
func (c *Cache[C, V]) offer(f *flight[V], q question, a answer[V]) {
	switch {
	case c.share == nil || f.ctx.Err() != nil:
	case a.denied && f.stopped(q): // the load asks again; this denial would stop its next answer
	case a.denied && f.known:
		c.leave(f).tell()
		c.spreadSoon(c.share.denial(f.key))
	case a.denied:
		c.share.outbox.deniedStranger(f.key)
		c.send()
	case f.lease != 0 && c.config.TTL > 0 && c.share.wanted():
		c.leave(f).tell()
		c.putTier(f, q, a)
	}
}

// putTier keeps a in the tier, for as long as it lives at most: each replica draws its own
// life out of that.
func (c *Cache[C, V]) putTier(f *flight[V], q question, a answer[V]) {
	var body []byte
	err := guard(func() (err error) {
		body, err = c.share.codec.Encode(a.v)
		return err
	})
	if err != nil {
		c.tierFailed(err)
		return
	}
	now := c.now()
	left := time.Duration(min(q.at.add(c.config.TTL), a.end) - now)
	if left <= 0 {
		return
	}
	sealed := c.share.sealer.seal(f.key, parcel{
		at:      f.lease,
		age:     time.Duration(now - q.at),
		left:    left,
		end:     time.Now().Add(left + clockSkew),
		version: c.share.codec.Version,
		body:    body,
	})
	ctx, cancel := context.WithTimeout(f.ctx, tierTimeout)
	defer cancel()
	called, err := c.share.within(ctx, func(ctx context.Context) error {
		return c.share.tier.Put(ctx, f.key, f.lease, sealed, left)
	})
	if called && err != nil && !errors.Is(err, ErrNoLease) {
		c.share.breaker.note(true, c.now())
		c.tierFailed(err)
	}
}

func (c *Cache[C, V]) tierFailed(err error) {
	c.counters.tierFailed.Add(1)
	c.tell(Event{Kind: TierFailed, Err: err})
}
