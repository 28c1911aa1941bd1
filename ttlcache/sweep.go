package ttlcache

import (
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Ended verdicts are dropped: the value of a positive one that is served no more, and a
// denial after its life. Their number is bounded, their size is not, and they may hold personal
// data. A timer does it, which runs only while there is something to drop, and does not
// keep a cache from being collected. The digest of a positive verdict stays, so that its
// credential is known.

// A sweeper decides when a cache drops ended verdicts.
type sweeper struct {
	every time.Duration // at most so often
	all   bool          // verdicts do not end in the order in which they came

	at atomic.Int64 // the instant of the next sweep

	mu    sync.Mutex // guards the fields below
	last  instant
	timer *time.Timer
}

const leastSweep = time.Second

func newSweeper(all bool, ttl time.Duration) *sweeper {
	s := &sweeper{every: leastSweep, all: all}
	if all { // it looks at every entry
		s.every = max(leastSweep, ttl/8)
	}
	s.at.Store(int64(distantFuture))
	return s
}

// sweepAfter makes sure that there is a sweep soon after end.
func (c *Cache[C, V]) sweepAfter(end instant) {
	s := c.sweeper
	if end.add(leastSweep) >= instant(s.at.Load()) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := max(end.add(leastSweep), s.last.add(s.every))
	if at >= instant(s.at.Load()) {
		return
	}
	s.at.Store(int64(at))
	in := time.Duration(at - c.now())
	if s.timer != nil {
		s.timer.Reset(in)
		return
	}
	cache := weak.Make(c)
	s.timer = time.AfterFunc(in, func() {
		if c := cache.Value(); c != nil {
			c.sweep()
		}
	})
}

func (c *Cache[C, V]) sweep() {
	now := c.now()
	c.sweeper.mu.Lock()
	c.sweeper.last = now
	c.sweeper.at.Store(int64(distantFuture))
	c.sweeper.mu.Unlock()
	next := c.denials.sweep(now)
	for i := range c.shards {
		next = min(next, c.sweepShard(&c.shards[i], now))
	}
	c.sweepAfter(next)
}

// sweepShard returns when the next verdict ends.
func (c *Cache[C, V]) sweepShard(s *shard[V], now instant) (next instant) {
	next = distantFuture
	var dead []*entry[V]
	s.mu.RLock()
	for e := s.verdicts.oldest; e != nil; e = e.newer {
		if now >= e.dead {
			dead = append(dead, e)
			continue
		}
		next = min(next, e.dead)
		if !c.sweeper.all {
			break
		}
	}
	s.mu.RUnlock()
	if len(dead) == 0 {
		return next
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range dead {
		if s.verdicts.get(&e.key) == e {
			s.endLocked(e)
		}
	}
	c.config.noteDueLocked(s)
	return next
}

// endLocked lets go of a verdict. Its credential stays known.
func (s *shard[V]) endLocked(e *entry[V]) {
	s.verdicts.remove(e)
	s.past.put(&entry[struct{}]{key: e.key}, 0)
}

// sweep returns when the next denial ends.
func (d denials) sweep(now instant) (next instant) {
	next = distantFuture
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		for s.entries.oldest != nil && now >= s.entries.oldest.dead {
			s.entries.remove(s.entries.oldest)
		}
		if s.entries.oldest != nil {
			next = min(next, s.entries.oldest.dead)
		}
		s.mu.Unlock()
	}
	return next
}
