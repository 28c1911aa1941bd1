package ttlcache

import "time"

// NewDigest returns how a cache hashes the parts that a Key writes, under a secret of
// its own if that is nil.
func NewDigest(secret []byte) func(key func(*Hash)) ([32]byte, bool) {
	h := newHasher()
	if secret != nil {
		h = newHasherWith(secret)
	}
	return func(key func(*Hash)) ([32]byte, bool) {
		x := h.begin()
		key(x)
		return h.end(x)
	}
}

// FindTwins puts the first n of two entries, whose digests share the part that the map
// knows, and reports which are found.
func FindTwins(n int) (found []bool) {
	twins := []digest{{0: 1}, {0: 2}}
	s := newSieve[int](8)
	for _, k := range twins[:n] {
		s.put(&entry[int]{key: k, dead: distantFuture}, 0)
	}
	for _, k := range twins {
		found = append(found, s.get(&k) != nil)
	}
	return found
}

// Pace returns how long loads are expected to take after n loads that took so long, and m
// that were cut after that time.
func Pace(n int, took time.Duration, m int, cut time.Duration) time.Duration {
	var p pace
	for range n {
		p.learn(took, false)
	}
	for range m {
		p.learn(cut, true)
	}
	return p.need()
}
