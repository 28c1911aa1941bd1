package ttlcache

import "time"

// publish gives a verdict to all callers and remembers it, unless it was revoked
// since it was asked for: then it returns false. It does the same for a verdict that
// comes when no caller waits any more.
func (c *Cache[C, V]) publish(f *flight[V], q question, a answer[V]) bool {
	s := f.shard
	if a.denied {
		s.mu.Lock() // a predicate has nothing to say about a denial
	} else if c.lockJudged(s, q, a.v) {
		s.mu.Unlock()
		return false
	}
	if f.stoppedLocked(q, a.denied) {
		s.mu.Unlock()
		return false
	}
	r, victim := c.rememberLocked(f, q, a)
	others := c.leave(f)
	f.settleLocked(r)
	s.mu.Unlock()
	others.tell()
	c.evicted(victim)
	kind := Loaded
	if a.denied {
		kind = Denied
	}
	c.tell(Event{Kind: kind, Key: f.key.name(), Err: a.err, Took: time.Since(f.began)})
	return true
}

// stoppedLocked reports whether the credential was revoked since q.
func (f *flight[V]) stoppedLocked(q question, denied bool) bool {
	r := f.shard.running[f.key]
	return f.shard.cleared.stops(q) || r.fence.stops(q) || !denied && r.denied.stops(q)
}

// stopped is stoppedLocked of a denial.
func (f *flight[V]) stopped(q question) bool {
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	return f.stoppedLocked(q, true)
}

// rememberLocked stores a verdict, unless one that was asked for later is known: then
// that one is the result.
func (c *Cache[C, V]) rememberLocked(f *flight[V], q question, a answer[V]) (r result[V], victim *entry[V]) {
	if c.supersededLocked(f.shard, f.key, q) {
		if r, ok := c.recallLocked(f.shard, f.key); ok {
			return r, nil
		}
		return result[V]{v: a.v, err: a.err}, nil
	}
	if a.denied {
		c.denyLocked(f.shard, f.key, q, a.err)
	} else {
		_, victim = c.storeLocked(f.shard, f.key, q, a.v, a.end)
	}
	return result[V]{v: a.v, err: a.err}, victim
}

// denyLocked ends the positive verdict on k, and remembers the denial if it may.
func (c *Cache[C, V]) denyLocked(s *shard[V], k digest, q question, err error) {
	c.forgetLocked(s, k)
	if r := s.running[k]; r.loads > 1 { // a late one may bring the verdict from before
		r.fence = c.fence(false)
	}
	s.bars.raise(&k, q.at) // at the same instant a Put wins
	now, expires := c.now(), q.at.add(max(0, c.config.DenyTTL))
	if now >= expires {
		return
	}
	c.denials.put(&entry[error]{key: k, value: err, asked: q.at, expires: expires, dead: expires}, now)
	c.sweepAfter(expires)
}

// recallLocked returns the verdict on k that is in memory, if there is one.
func (c *Cache[C, V]) recallLocked(s *shard[V], k digest) (r result[V], ok bool) {
	now := c.now()
	if e := s.verdicts.get(&k); e != nil && c.fresh(e, now) {
		e.touch()
		return result[V]{v: e.value}, true
	}
	if err := c.denials.fresh(&k, now); err != nil {
		return result[V]{err: err}, true
	}
	return r, false
}

// fail tells all callers that there is no verdict, unless they have one.
func (c *Cache[C, V]) fail(f *flight[V], kind Kind, err error, took time.Duration) {
	s := f.shard
	s.mu.Lock()
	if f.settled {
		s.mu.Unlock()
		return
	}
	c.counters.failed.Add(1)
	c.holdOffLocked(s, f.key, err)
	f.settleLocked(c.fallbackLocked(s, f.key, err))
	s.mu.Unlock()
	c.tell(Event{Kind: kind, Key: f.key.name(), Err: err, Took: took})
}

// turnAway is fail for a load that was not admitted.
func (c *Cache[C, V]) turnAway(f *flight[V], err error) result[V] {
	s := f.shard
	s.mu.Lock()
	if f.settled { // its time was over at the same moment
		s.mu.Unlock()
		return f.result
	}
	r := c.fallbackLocked(s, f.key, err)
	c.counters.shed.Add(1)
	f.settleLocked(r)
	s.mu.Unlock()
	f.release()
	c.tell(Event{Kind: Shed, Key: f.key.name(), Err: err})
	return r
}

// fallbackLocked is the result for callers that get no verdict: one that came in
// meanwhile, or the last one if it may be served for some time yet, or err.
func (c *Cache[C, V]) fallbackLocked(s *shard[V], k digest, err error) result[V] {
	now, e := c.now(), s.verdicts.get(&k)
	if r, ok := c.staleLocked(e, now, err); ok {
		return r
	}
	if e != nil && c.fresh(e, now) {
		return result[V]{v: e.value}
	}
	return result[V]{err: err}
}
