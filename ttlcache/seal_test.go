package ttlcache_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

var (
	aSecret  = bytes.Repeat([]byte("secret.."), 4)
	aParcel  = ttlcache.Parcel{At: 7, Age: 1, Left: 2, End: time.UnixMilli(3), Version: 4, Body: []byte("ada")}
	aKey     = [32]byte{1}
	otherKey = [32]byte{2}
)

func TestSealedIsUnreadableAndOpens(t *testing.T) {
	sealed := ttlcache.Seal(aSecret, aKey, aParcel)
	require.NotContains(t, string(sealed), "ada")
	require.NotEqual(t, sealed, ttlcache.Seal(aSecret, aKey, aParcel), "no nonce is used again")
	p, ok := ttlcache.Open(aSecret, aKey, sealed)
	require.True(t, ok)
	require.Equal(t, aParcel, p)
}

func TestSealedIsBoundToItsKeyAndPosition(t *testing.T) {
	sealed := ttlcache.Seal(aSecret, aKey, aParcel)
	_, ok := ttlcache.Open(aSecret, otherKey, sealed)
	require.False(t, ok, "moved to another key")
	_, ok = ttlcache.Open(bytes.Repeat([]byte{1}, 32), aKey, sealed)
	require.False(t, ok, "another secret")
	for i := range sealed {
		forged := bytes.Clone(sealed)
		forged[i] ^= 1
		_, ok = ttlcache.Open(aSecret, aKey, forged)
		require.False(t, ok, "byte %d of format, position, nonce or text", i)
	}
	for n := range sealed {
		_, ok = ttlcache.Open(aSecret, aKey, sealed[:n])
		require.False(t, ok, "cut after %d bytes", n)
	}
}

func TestRemainingLife(t *testing.T) {
	now := time.Unix(1000, 0)
	p := ttlcache.Parcel{Age: time.Second, Left: time.Minute, End: now.Add(2 * time.Minute)}
	life, age := ttlcache.Remaining(p, 40*time.Second, now)
	require.Equal(t, 40*time.Second, life)
	require.Equal(t, 21*time.Second, age, "what has passed since it was sealed is counted down by the tier")
	life, age = ttlcache.Remaining(p, time.Hour, now)
	require.Equal(t, time.Minute, life, "a tier that says more than it was told")
	require.Equal(t, time.Second, age)
	life, _ = ttlcache.Remaining(p, 40*time.Second, now.Add(110*time.Second))
	require.Equal(t, 10*time.Second, life, "the outer end")
	life, _ = ttlcache.Remaining(p, 40*time.Second, now.Add(time.Hour))
	require.Less(t, life, time.Duration(0))
}

func FuzzOpen(f *testing.F) {
	f.Add(ttlcache.Seal(aSecret, otherKey, aParcel))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, ok := ttlcache.Open(aSecret, aKey, sealed); ok {
			t.Fatal("opened what was not sealed")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ttlcache.Seal(aSecret, aKey, aParcel)
	}
}
