package ttlcache

import (
	"sync"
	"sync/atomic"
	"time"
)

// A shard holds all that is known about some of the credentials.
type shard[V any] struct {
	hits     atomic.Uint64 // beside mu, which a hit needs as well
	due      atomic.Int64  // the instant at which the oldest verdict is to be asked for again
	mu       sync.RWMutex  // guards the fields below
	verdicts sieve[V]
	past     sieve[struct{}]       // known credentials whose verdict is gone; within the budget of verdicts
	flights  map[digest]*flight[V] // loads that may still be joined
	running  map[digest]*run
	cleared  fence // the last Clear
	bars     bars
	told     bars     // by the log of the tier: what came through that is judged by its place there
	_        [64]byte // keeps the locks of two shards on two cache lines
}

func (c *Cache[C, V]) shard(k *digest) *shard[V] { return &c.shards[k.index(len(c.shards))] }

func (s *shard[V]) lookup(k *digest) *entry[V] {
	s.mu.RLock()
	e := s.verdicts.get(k)
	s.mu.RUnlock()
	return e
}

func (s *shard[V]) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lenLocked()
}

func (s *shard[V]) lenLocked() int { return s.verdicts.len() + s.past.len() }

// knowsLocked reports whether k had a positive verdict before.
func (s *shard[V]) knowsLocked(k *digest) bool {
	return s.verdicts.get(k) != nil || s.past.get(k) != nil
}

// roomLocked makes room for a verdict on k, at the cost of a credential whose own is gone.
func (s *shard[V]) roomLocked(k *digest) {
	if e := s.past.get(k); e != nil {
		s.past.remove(e)
	}
	if s.past.oldest != nil && s.verdicts.get(k) == nil && s.lenLocked() >= s.verdicts.max {
		s.past.remove(s.past.oldest)
	}
}

// noteDueLocked updates due, for someoneIsDue. The oldest entry of a shard was asked
// for first, so it is due first but for Jitter, and for credentials that end by
// themselves: those need not be asked for again.
func (c Config[C, V]) noteDueLocked(s *shard[V]) {
	due := distantFuture
	if s.past.oldest != nil {
		due = 0
	} else if e := s.verdicts.oldest; e != nil {
		due = e.expires
		if c.Refresh > 0 {
			due = instant(e.renew.Load())
		}
	}
	s.due.Store(int64(due))
}

// someoneIsDue reports whether a known credential has to be asked for again within that
// time. It takes no lock.
func (c *Cache[C, V]) someoneIsDue(within time.Duration) bool {
	soon := c.now().add(within)
	for i := range c.shards {
		if due := instant(c.shards[i].due.Load()); due <= soon && due < distantFuture {
			return true
		}
	}
	return false
}

const (
	maxShards = 64 // enough for 16 cores at four shards each
	minShare  = 32 // of a shard: with less, chance would leave much of the budget unused
)

// shares splits a budget into those of shards, whose number is a power of two. Their
// sum is the budget. Keys are random, so n distinct ones use nearly all of it.
func shares(budget int) []int {
	n := 1
	for n < maxShards && budget/(2*n) >= minShare {
		n *= 2
	}
	s := make([]int, n)
	for i := range s {
		s[i] = budget / n
		if i < budget%n {
			s[i]++
		}
	}
	return s
}

// index chooses one of n shards, a power of two, for k.
func (k *digest) index(n int) int { return int(k[0]) & (n - 1) }
