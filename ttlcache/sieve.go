package ttlcache

import (
	"encoding/binary"
	"sync/atomic"
)

// An entry is a verdict. Only the atomic fields and the links change once it is in
// a sieve, so a reader needs no lock once it has one.
type entry[T any] struct {
	// What a hit needs comes first, in one cache line or two.
	key     digest
	expires instant // not a hit from here on
	visited atomic.Bool
	shared  bool // came through the tier
	value   T

	renew        atomic.Int64 // a hit from here on begins to renew it
	asked        instant      // when the question was
	dead         instant      // not served at all from here on
	holdoff      *holdoff     // guarded by the lock of the shard
	newer, older *entry[T]
}

// A sieve is a bounded map that evicts entries which were not hit: SIEVE, of Zhang et
// al., NSDI 2024. A hit only sets a bit, so readers need no more than a read lock.
// It is not safe for concurrent use but for get and touch.
//
// The map knows only a part of each digest. A slot with all of it would be as large
// as an entry, and between a third and a half of the slots are empty. The entry has
// the digest, which decides. Two that share a part, once in 10^7 caches of a million
// entries, take turns.
type sieve[T any] struct {
	max            int
	entries        map[uint64]*entry[T]
	newest, oldest *entry[T]
	hand           *entry[T] // where the search for a victim goes on; nil is the oldest
}

func newSieve[T any](limit int) sieve[T] {
	return sieve[T]{max: limit, entries: make(map[uint64]*entry[T])}
}

// part is of other bytes than index, so that those in a shard differ in it.
func (k *digest) part() uint64 { return binary.NativeEndian.Uint64(k[8:]) }

// get returns the entry of k, or nil.
func (s *sieve[T]) get(k *digest) *entry[T] {
	if e := s.entries[k.part()]; e != nil && e.key == *k {
		return e
	}
	return nil
}

func (s *sieve[T]) len() int { return len(s.entries) }

// touch notes a hit.
func (e *entry[T]) touch() {
	if !e.visited.Load() { // a load that finds the bit set leaves the cache line shared
		e.visited.Store(true)
	}
}

// put adds e, replaces the entry with its key, and returns the entry evicted for it.
func (s *sieve[T]) put(e *entry[T], now instant) (evicted *entry[T]) {
	if old := s.entries[e.key.part()]; old != nil {
		s.remove(old)
	}
	if s.len() >= s.max {
		evicted = s.victim(now)
		s.remove(evicted)
	}
	s.entries[e.key.part()] = e
	e.older = s.newest
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
	return evicted
}

// victim looks from the oldest to the newest for an entry that is dead or was not
// visited since the last time around. The sieve must not be empty.
func (s *sieve[T]) victim(now instant) *entry[T] {
	e := s.hand
	for {
		if e == nil {
			e = s.oldest
		}
		if now >= e.dead || !e.visited.Load() {
			s.hand = e
			return e
		}
		e.visited.Store(false)
		e = e.newer
	}
}

// remove forgets e, which must be in s.
func (s *sieve[T]) remove(e *entry[T]) {
	delete(s.entries, e.key.part())
	if s.hand == e {
		s.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	e.newer, e.older = nil, nil
}

func (s *sieve[T]) clear() { *s = newSieve[T](s.max) }
