package ttlcache

import (
	"maps"
	"slices"
)

// Revoke forgets the verdict on cred, and reports whether there was one
// that was still served, be it a denial. When it returns, no Get and no [Cache.Put]
// hands out or keeps a verdict on cred that was asked for before: a load in flight
// asks again.
//
// With a [Tier] the other caches are told as well. Revoke waits for that 50 ms at most,
// and goes on trying; [Cache.RevokeContext] returns the error.
func (c *Cache[C, V]) Revoke(cred C) bool {
	k, ok := c.digest(cred)
	if !ok {
		return false
	}
	served := c.revokeKey(k, false)
	c.spreadSoon(Revocation{Keys: [][32]byte{k}})
	return served
}

// revokeKey is Revoke without the others, or what it means here that the log says so.
func (c *Cache[C, V]) revokeKey(k digest, log bool) bool {
	s := c.shard(&k)
	s.mu.Lock()
	f := c.fence(log)
	if r := s.running[k]; r != nil {
		r.fence = f
	}
	e, d := c.forgetLocked(s, k), c.denials.remove(k)
	if log {
		s.told.raise(&k, f.at+1)
	} else {
		s.bars.raise(&k, f.at+1) // the order within an instant is unknown
	}
	s.mu.Unlock()
	if e != nil && f.at < e.dead || d != nil && f.at < d.dead {
		c.revoked(k)
		return true
	}
	return false
}

// deniedElsewhere is what it means here that the log tells of a denial, be it one of this
// cache: it ends a positive verdict, and no denial. Without that replicas would take turns
// in undoing the denials of each other.
func (c *Cache[C, V]) deniedElsewhere(k digest) {
	s := c.shard(&k)
	s.mu.Lock()
	f := c.fence(true)
	if r := s.running[k]; r != nil {
		r.denied = f
	}
	e := c.forgetLocked(s, k)
	s.told.raise(&k, f.at+1)
	s.mu.Unlock()
	if e != nil && f.at < e.dead {
		c.revoked(k)
	}
}

// RevokeFunc forgets every positive verdict that match reports, by user, by
// organisation, by token, and returns how many were still served. It holds as
// Revoke does: loads in flight are judged on their answers, and those reported ask
// again. So match is called on their goroutines as well, and later on; it must be
// safe for that, must not change, and must not panic. A match that is nil panics.
//
// With a [Tier] the credentials that it ends here are revoked in the other caches too, or
// everything if there are more than 4096. Verdicts that only those know are not:
// [Cache.RevokeTag] reaches them.
func (c *Cache[C, V]) RevokeFunc(match func(V) bool) int {
	if match == nil {
		panic("ttlcache: RevokeFunc with nil match")
	}
	keys, served := c.endWhere(match, false, false)
	c.revoked(served...)
	c.spreadSoon(Revocation{Keys: keys})
	return len(served)
}

// Expire ends every positive verdict that match reports, and returns how many were still
// served: the next Get of their credentials asks again. In contrast to RevokeFunc the
// credentials stay known, so that the whole fleet of a user whose roles have changed does
// not have to wait behind strangers. MaxStale does not serve the ended verdicts: they are known
// to be wrong. All that RevokeFunc says about loads in flight, Put, match and the Tier holds
// here too; Stats and OnEvent do not count the ended verdicts.
func (c *Cache[C, V]) Expire(match func(V) bool) int {
	if match == nil {
		panic("ttlcache: Expire with nil match")
	}
	keys, served := c.endWhere(match, false, true)
	c.spreadSoon(Revocation{Keys: keys})
	return len(served)
}

// endAll is what it means here that the log tells of everything: as Clear, but the
// credentials stay known, so that the fleet does not have to wait behind strangers.
func (c *Cache[C, V]) endAll() {
	var served []digest
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		f := c.fence(true)
		s.cleared = f.with(s.cleared)
		for _, e := range slices.Collect(maps.Values(s.verdicts.entries)) {
			s.endLocked(e)
			if f.at < e.dead {
				served = append(served, e.key)
			}
		}
		c.config.noteDueLocked(s)
		s.mu.Unlock()
	}
	c.denials.clear() // no earlier answer can add to it any more
	c.revoked(served...)
}

// endWhere ends, in this cache, the positive verdicts that match reports. It returns their
// keys, and the keys of those that were still served. The credentials stay known, or not.
func (c *Cache[C, V]) endWhere(match func(V) bool, log, known bool) (keys [][32]byte, served []digest) {
	c.revoking.Lock()
	f := c.fence(log)
	c.predicates.Store(c.predicates.Load().with(predicate[V]{f, match}))
	c.revoking.Unlock()
	for i := range c.shards {
		k, s := c.endIn(&c.shards[i], match, known, f.at)
		keys, served = append(keys, k...), append(served, s...)
	}
	return keys, served
}

// revokeWhere is endWhere for revocations.
func (c *Cache[C, V]) revokeWhere(match func(V) bool, log bool) {
	_, served := c.endWhere(match, log, false)
	c.revoked(served...)
}

// Clear forgets all verdicts, denials and known credentials, as if everything had been
// revoked; with a [Tier], in all caches that share it. Neither Stats nor OnEvent count them.
func (c *Cache[C, V]) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.verdicts.clear()
		s.past.clear()
		c.config.noteDueLocked(s)
		s.cleared = c.fence(false)
		s.mu.Unlock()
	}
	c.denials.clear() // no earlier answer can add to it any more
	c.spreadSoon(Revocation{All: true})
}

func (c *Cache[C, V]) fence(log bool) fence {
	moment := c.moment.Add(1) // first: a question from now on is later in both
	return fence{moment, c.now(), log}
}

func (c *Cache[C, V]) question() question {
	at := c.now()
	return question{moment: c.moment.Add(1), at: at}
}

// endIn calls match without a lock. A verdict that comes in meanwhile has passed the fence.
func (c *Cache[C, V]) endIn(s *shard[V], match func(V) bool, known bool, now instant) (keys [][32]byte, served []digest) {
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
		if known {
			s.endLocked(e)
		} else {
			s.verdicts.remove(e)
		}
		keys = append(keys, e.key)
		if now < e.dead {
			served = append(served, e.key)
		}
	}
	c.config.noteDueLocked(s)
	return keys, served
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
