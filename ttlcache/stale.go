package ttlcache

import (
	"errors"
	"time"
)

// While the authenticator is away, an expired verdict is served for some time yet. Asking
// at each Get would cost each of them the time that a failure takes, and the authenticator
// a flood as it comes back.

var errSlow = errors.New("ttlcache: no answer within StaleAfter")

// A holdoff is how long a credential is not asked about again, because the last load gave
// no verdict.
type holdoff struct {
	why    error
	lasts  time.Duration
	passes instant // from here on it is asked again
}

const firstHoldoff = time.Second

// staleLocked returns the result of a Get that finds e expired, if e may still be served
// because of why.
func (c *Cache[C, V]) staleLocked(e *entry[V], now instant, why error) (r result[V], ok bool) {
	if e == nil || now < e.expires || now >= e.dead || e.shared && !c.share.alive(now) {
		return r, false
	}
	return result[V]{v: e.value, stale: why, age: time.Duration(now - e.asked)}, true
}

// heldOffLocked is the result for a Get that should not ask, because a load of the
// credential has failed lately.
func (c *Cache[C, V]) heldOffLocked(s *shard[V], k digest) (r result[V], ok bool) {
	now, e := c.now(), s.verdicts.get(&k)
	if e == nil || e.holdoff == nil || now >= e.holdoff.passes {
		return r, false
	}
	return c.staleLocked(e, now, e.holdoff.why)
}

// holdOffLocked notes that a load of k has failed because of why.
func (c *Cache[C, V]) holdOffLocked(s *shard[V], k digest, why error) {
	now, e := c.now(), s.verdicts.get(&k)
	if _, ok := c.staleLocked(e, now, why); !ok {
		return
	}
	most := orDefault(max(0, c.config.LoadTimeout), defaultLoadTimeout)
	lasts := min(firstHoldoff, most)
	if e.holdoff != nil {
		lasts = min(2*e.holdoff.lasts, most)
	}
	e.holdoff = &holdoff{why, lasts, now.add(lasts)}
}

// stopWaiting answers a caller that has waited for StaleAfter with the expired verdict, if
// it may still be served. The load goes on.
func (c *Cache[C, V]) stopWaiting(f *flight[V]) (r result[V], ok bool) {
	s := f.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.settled {
		return f.result, true
	}
	r, ok = c.staleLocked(s.verdicts.get(&f.key), c.now(), errSlow)
	if ok {
		f.waiters--
		f.background = true
		c.joinLocked(f, time.Time{}) // it is no matter any more when its callers leave
	}
	return r, ok
}
