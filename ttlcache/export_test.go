package ttlcache

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
