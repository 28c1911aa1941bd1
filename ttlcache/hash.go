package ttlcache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
	"unsafe"
)

// A Hash takes the parts that identify a credential, see [Config.Key]. Each part is
// hashed with its length, so "ab","c" and "a","bc" are two credentials. It is valid
// only during the call that it was given to.
type Hash struct {
	sha    hash.Hash
	state  encoding.BinaryUnmarshaler // of sha
	some   bool                       // there was a part
	number [8]byte                    // here and not on the stack, from where sha would make it escape
	sum    digest
}

// String adds a part. It is the same part as Bytes of the same content.
func (h *Hash) String(s string) {
	h.Bytes(unsafe.Slice(unsafe.StringData(s), len(s))) // sha only reads, and keeps nothing
}

// Bytes adds a part.
func (h *Hash) Bytes(b []byte) {
	h.some = true
	h.write(uint64(len(b)))
	h.sha.Write(b)
}

// Uint64 adds a part, which no String or Bytes equals.
func (h *Hash) Uint64(n uint64) {
	h.some = true
	h.write(aNumber)
	h.write(n)
}

// aNumber stands where other parts have their length.
const aNumber = 1 << 63

func (h *Hash) write(n uint64) {
	binary.BigEndian.PutUint64(h.number[:], n)
	h.sha.Write(h.number[:])
}

// A digest stands for a credential. It is as good as random without the secret: its bits
// choose a shard, no attacker can aim at one, and the time
// that a map takes to compare it tells nothing.
type digest [sha256.Size]byte

// A hasher computes HMAC-SHA256 (RFC 2104) of credentials under a secret of its
// own. Both keyed blocks are hashed in advance: crypto/hmac does the same, but
// cannot be set up without allocating for each message.
type hasher struct {
	inner, outer []byte // marshaled states of SHA-256
	free         sync.Pool
}

func newHasher() *hasher {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails
	return newHasherWith(secret)
}

// newHasherWith takes a secret of at most a block.
func newHasherWith(secret []byte) *hasher {
	return &hasher{
		inner: keyed(secret, 0x36),
		outer: keyed(secret, 0x5c),
		free: sync.Pool{New: func() any {
			sha := sha256.New()
			return &Hash{sha: sha, state: sha.(encoding.BinaryUnmarshaler)}
		}},
	}
}

// keyed returns the state of SHA-256 after a block of secret and pad.
func keyed(secret []byte, pad byte) []byte {
	var block [sha256.BlockSize]byte
	copy(block[:], secret)
	for i := range block {
		block[i] ^= pad
	}
	sha := sha256.New()
	sha.Write(block[:])
	state, err := sha.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("ttlcache: SHA-256 cannot save its state: " + err.Error()) // it documents that it can
	}
	return state
}

// begin returns a Hash that is ready to take parts.
func (h *hasher) begin() *Hash {
	x := h.free.Get().(*Hash)
	x.some = false
	x.load(h.inner)
	return x
}

// end returns the digest of the parts, and whether there was one. It overwrites
// the parts that x has kept: a Hash that waits for its next use is no place for a
// credential.
func (h *hasher) end(x *Hash) (digest, bool) {
	inner := x.sha.Sum(x.sum[:0])
	x.load(h.outer)
	x.sha.Write(inner)
	x.sha.Sum(x.sum[:0])
	x.number = [8]byte{}
	sum, ok := x.sum, x.some
	h.free.Put(x)
	return sum, ok
}

func (h *Hash) load(state []byte) {
	if err := h.state.UnmarshalBinary(state); err != nil {
		panic("ttlcache: SHA-256 cannot restore its state: " + err.Error())
	}
}
