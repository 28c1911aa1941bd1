package ttlcache

import (
	"maps"
	"slices"
)

// Revoke forgets what is known about cred, and reports whether there was a verdict
// that was still served, be it a denial. When it returns, no Get and no [Cache.Put]
// hands out or keeps a verdict on cred that was asked for before: a load in flight
// asks again.
func (c *Cache[C, V]) Revoke(cred C) bool {
	k, ok := c.digest(cred)
	if !ok {
		return false
	}
	s := c.shard(&k)
	s.mu.Lock()
	f := c.fence()
	if r := s.running[k]; r != nil {
		r.fence = f
	}
	s.bars.raise(&k, f.at+1) // the order within an instant is unknown
	e, d := c.forgetLocked(s, k), c.denials.remove(k)
	s.mu.Unlock()
	if e != nil && f.at < e.dead || d != nil && f.at < d.dead {
		c.revoked(1)
		return true
	}
	return false
}

// RevokeFunc forgets every positive verdict that match reports, by user, by
// organisation, by token, and returns how many were still served. It gives what
// Revoke gives: loads in flight are judged on their answers, and those reported ask
// again. So match is called on their goroutines as well, and later on; it must be
// safe for that, must not change, and must not panic. A match that is nil panics.
func (c *Cache[C, V]) RevokeFunc(match func(V) bool) int {
	if match == nil {
		panic("ttlcache: RevokeFunc with nil match")
	}
	c.revoking.Lock()
	f := c.fence()
	c.predicates.Store(c.predicates.Load().with(predicate[V]{f, match}))
	c.revoking.Unlock()
	n := 0
	for i := range c.shards {
		n += c.revokeIn(&c.shards[i], match, f.at)
	}
	c.revoked(n)
	return n
}

// Clear forgets everything, denials and who is known among it, as if everything had
// been revoked. Neither Stats nor OnEvent count what was there.
func (c *Cache[C, V]) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.verdicts.clear()
		c.config.noteDueLocked(s)
		s.cleared = c.fence()
		s.mu.Unlock()
	}
	c.denials.clear() // no earlier answer can add to it any more
}

func (c *Cache[C, V]) fence() fence {
	moment := c.moment.Add(1) // first: what is asked from now on is later in both
	return fence{moment, c.now()}
}

func (c *Cache[C, V]) question() question {
	at := c.now()
	return question{c.moment.Add(1), at}
}

// revokeIn calls match without a lock. What comes in meanwhile has passed the fence.
func (c *Cache[C, V]) revokeIn(s *shard[V], match func(V) bool, now instant) (n int) {
	s.mu.RLock()
	entries := slices.Collect(maps.Values(s.verdicts.entries))
	s.mu.RUnlock()
	entries = slices.DeleteFunc(entries, func(e *entry[V]) bool { return !match(e.value) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if s.verdicts.get(&e.key) != e {
			continue
		}
		s.verdicts.remove(e)
		if now < e.dead {
			n++
		}
	}
	c.config.noteDueLocked(s)
	return n
}

// lockJudged locks s and reports whether v, said in answer to q, was revoked by a
// predicate. Each is called without a lock, so another may come meanwhile.
func (c *Cache[C, V]) lockJudged(s *shard[V], q question, v V) bool {
	for {
		p := c.predicates.Load()
		stopped := p.stop(q, v)
		s.mu.Lock()
		if c.predicates.Load() == p {
			return stopped
		}
		s.mu.Unlock()
	}
}
