package ttlcache_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func FuzzKeyIsHMAC(f *testing.F) {
	f.Add([]byte("secret"), "token", []byte("host"), uint64(7))
	f.Add([]byte{}, "", []byte{}, uint64(0))
	f.Add(bytes.Repeat([]byte{'k'}, 64), string(make([]byte, 1000)), make([]byte, 47), ^uint64(0))
	f.Fuzz(func(t *testing.T, secret []byte, s string, b []byte, n uint64) {
		secret = secret[:min(len(secret), sha256.BlockSize)]
		digest := ttlcache.NewDigest(secret)
		mac := hmac.New(sha256.New, secret)
		message := binary.BigEndian.AppendUint64(nil, uint64(len(s)))
		message = append(message, s...)
		message = binary.BigEndian.AppendUint64(message, uint64(len(b)))
		message = append(message, b...)
		message = binary.BigEndian.AppendUint64(message, 1<<63)
		message = binary.BigEndian.AppendUint64(message, n)
		mac.Write(message)
		for range 2 { // the second time on a used Hash
			sum, ok := digest(func(h *ttlcache.Hash) { h.String(s); h.Bytes(b); h.Uint64(n) })
			if !ok || !bytes.Equal(sum[:], mac.Sum(nil)) {
				t.Fatalf("not the HMAC of %q, %q, %d under %q", s, b, n, secret)
			}
		}
	})
}

func TestPartsDoNotRunIntoEachOther(t *testing.T) {
	digest := ttlcache.NewDigest(make([]byte, 32))
	seen := map[[32]byte]string{}
	for name, key := range map[string]func(*ttlcache.Hash){
		"ab,c":     func(h *ttlcache.Hash) { h.String("ab"); h.String("c") },
		"a,bc":     func(h *ttlcache.Hash) { h.String("a"); h.String("bc") },
		"abc":      func(h *ttlcache.Hash) { h.String("abc") },
		"abc,":     func(h *ttlcache.Hash) { h.String("abc"); h.String("") },
		",abc":     func(h *ttlcache.Hash) { h.String(""); h.String("abc") },
		"empty":    func(h *ttlcache.Hash) { h.String("") },
		"7":        func(h *ttlcache.Hash) { h.Uint64(7) },
		"7 in 8":   func(h *ttlcache.Hash) { h.Bytes([]byte{0, 0, 0, 0, 0, 0, 0, 7}) },
		"0 length": func(h *ttlcache.Hash) { h.Uint64(0) },
	} {
		sum, ok := digest(key)
		require.True(t, ok, name)
		require.NotContains(t, seen, sum, name)
		seen[sum] = name
	}
	a, _ := digest(func(h *ttlcache.Hash) { h.String("abc") })
	b, _ := digest(func(h *ttlcache.Hash) { h.Bytes([]byte("abc")) })
	require.Equal(t, a, b)
	_, ok := digest(func(*ttlcache.Hash) {})
	require.False(t, ok)
}

type pair struct{ user, password string }

func TestCompositeCredentials(t *testing.T) {
	c := ttlcache.New(func(_ context.Context, p pair) (pair, error) { return p, nil }, ttlcache.Config[pair, pair]{
		Key: func(h *ttlcache.Hash, p pair) { h.String(p.user); h.String(p.password) },
		TTL: ttl,
	})
	for range 2 {
		for _, p := range []pair{{"ab", "c"}, {"a", "bc"}, {"abc", ""}, {"", "abc"}} {
			v, err := c.Get(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, p, v)
		}
	}
	require.Equal(t, 4, c.Len())
}

func TestSecretIsOfEachCache(t *testing.T) {
	a, _ := ttlcache.NewDigest(nil)(func(h *ttlcache.Hash) { h.String("token") })
	b, _ := ttlcache.NewDigest(nil)(func(h *ttlcache.Hash) { h.String("token") })
	require.NotEqual(t, a, b)
}

func TestKeyThatWritesNothing(t *testing.T) {
	c := ttlcache.New(new(provider).load, settings{TTL: ttl, Key: func(*ttlcache.Hash, string) {}})
	v, err := c.Get(t.Context(), "agent")
	require.Equal(t, ttlcache.ErrNoKey, err)
	require.Empty(t, v)
	require.False(t, peek(c, "agent"))
	require.False(t, c.Put("agent", "ada", time.Now()))
	require.False(t, c.Revoke("agent"))
	require.Zero(t, c.Len())
	require.Zero(t, c.Stats())
}

func TestHitDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties sync.Pool at random")
	}
	ctx := t.Context()
	c := ttlcache.New(new(provider).load, settings{TTL: time.Hour, Denied: isBad, DenyTTL: time.Hour, Refresh: 0.9})
	token := string(bytes.Repeat([]byte("t"), 1000)) // a JWT is long
	_, err := c.Get(ctx, token)
	require.NoError(t, err)
	type signed struct {
		user      string
		signature []byte
	}
	composite := ttlcache.New(func(context.Context, signed) (int, error) { return 1, nil }, ttlcache.Config[signed, int]{
		Key: func(h *ttlcache.Hash, s signed) { h.String(s.user); h.Bytes(s.signature); h.Uint64(7) },
		TTL: time.Hour,
	})
	cred := signed{"ada", []byte("signature")}
	_, err = composite.Get(ctx, cred)
	require.NoError(t, err)
	// GC may empty the pool of Hashes; on average it does not.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = c.Get(ctx, token) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = c.Peek(token) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = composite.Get(ctx, cred) }))
}

// What the cache has seen is not found in the memory of the process, neither a string nor
// a number as it was hashed.
func TestHeapDumpHoldsNoCredential(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one pool of Hashes
	kept := ttlcache.New(func(_ context.Context, c numbered) (int, error) {
		return len(c.token), nil
	}, ttlcache.Config[numbered, int]{
		Key: func(h *ttlcache.Hash, c numbered) {
			if c != (numbered{}) {
				h.String(c.token)
				h.Uint64(c.number)
			}
		},
		TTL: time.Hour, Refresh: 0.5, Denied: isBad, DenyTTL: time.Hour,
	})
	const n = 200
	number := random(uint64(time.Now().UnixNano())).Uint64() // in this byte order, no test before has seen it
	use(t, kept, number, n)
	for range 3 {
		runtime.GC()
		kept.Peek(numbered{}) // keeps a used Hash from being garbage, and writes nothing to it
	}
	f, err := os.CreateTemp("", "heap") // no t.TempDir: Wine cannot remove a folder with a file in it
	require.NoError(t, err)
	defer func() { require.NoError(t, os.Remove(f.Name())) }()
	debug.WriteHeapDump(f.Fd())
	require.NoError(t, f.Close())
	dump, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, n, kept.Len())
	require.True(t, bytes.Contains(dump, unmask(maskedControl())), "the dump does not even hold what the test keeps")
	require.False(t, bytes.Contains(dump, unmask(masked())), "the dump holds credentials")
	hashed := binary.BigEndian.AppendUint64(nil, number)
	if binary.NativeEndian.Uint64(hashed) != number { // on s390x the test's own number looks the same
		require.False(t, bytes.Contains(dump, hashed), "the dump holds what was hashed")
	}
	runtime.KeepAlive(control)
	runtime.KeepAlive(kept)
}

// A numbered credential has a token for everybody and a number of its own.
type numbered struct {
	token  string
	number uint64
}

// use asks about credentials in a frame of its own, whose memory is then garbage.
//
//go:noinline
func use(t *testing.T, c *ttlcache.Cache[numbered, int], number uint64, n int) {
	for i := range n {
		cred := numbered{string(unmask(masked())) + fmt.Sprint(i), number}
		for range 2 {
			_, err := c.Get(t.Context(), cred)
			require.NoError(t, err)
		}
		require.True(t, c.Put(cred, 1, time.Now()))
		cred.token += "?"
		require.False(t, c.Revoke(cred))
	}
}

var control = string(unmask(maskedControl()))

func masked() []byte        { return []byte("needle-in-the-heap:") }
func maskedControl() []byte { return []byte("kept-by-the-test:") }

// unmask makes what must not be found otherwise, in the binary for one.
func unmask(b []byte) []byte {
	for i := range b {
		b[i] ^= 0x80
	}
	return b
}

func TestKeyPanicReachesTheCaller(t *testing.T) {
	bad := true
	c := ttlcache.New(new(provider).load, settings{TTL: ttl, Key: func(h *ttlcache.Hash, s string) {
		h.String(s)
		if bad {
			panic("bad key")
		}
	}})
	require.PanicsWithValue(t, "bad key", func() { _, _ = c.Get(t.Context(), "agent") })
	bad = false
	_, err := c.Get(t.Context(), "agent")
	require.NoError(t, err)
}
