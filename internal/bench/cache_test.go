package bench_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// tokens are n credentials of 64 bytes.
func tokens(n int) []string {
	ts := make([]string, n)
	for i := range ts {
		ts[i] = fmt.Sprintf("%064x", rand.New(rand.NewPCG(uint64(i), 7)).Uint64())
	}
	return ts
}

func echo(_ context.Context, token string) (string, error) { return token, nil }

// zipf draws from n with the skew of requests in the wild.
func zipf(n int) func() int {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, uint64(n-1))
	return func() int { return int(z.Uint64()) }
}

func uniform(n int) func() int {
	r := rand.New(rand.NewPCG(1, 2))
	return func() int { return r.IntN(n) }
}

// BenchmarkHit is a look-up that finds, by as many goroutines as there are
// processors. Ours and kubernetes hash the credential, the others keep it.
func BenchmarkHit(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"10k", 10_000}, {"100k", 100_000}, {"1M", 1_000_000}} {
		b.Run("keys="+size.name, func(b *testing.B) {
			ts := tokens(size.n)
			for _, c := range turned(caches) {
				benchmarkHits(b, c, ts)
			}
		})
	}
}

func benchmarkHits(b *testing.B, c cache, ts []string) {
	s := c.new(2*len(ts), echo)
	defer s.close()
	for _, token := range ts {
		s.set(token, "user")
	}
	for _, draw := range []struct {
		name string
		next func() int
	}{{"uniform", uniform(len(ts))}, {"zipf", zipf(len(ts))}} {
		asked := make([]string, 1<<20) // so that the draw is not measured
		for i := range asked {
			asked[i] = ts[draw.next()]
		}
		b.Run("draw="+draw.name+"/lib="+c.name, func(b *testing.B) {
			var goroutines, misses atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := int(goroutines.Add(1)) * 7919; pb.Next(); i++ {
					if _, ok := s.bare(asked[i%len(asked)]); !ok {
						misses.Add(1)
					}
				}
			})
			if missed := misses.Load(); missed > int64(b.N)/100 {
				b.Fatalf("%d of %d were not there", missed, b.N)
			}
		})
	}
}

// BenchmarkHash is the floor of a hit that keeps no credential: the cheapest hash
// under a secret, and the HMAC of a pool.
func BenchmarkHash(b *testing.B) {
	ts := tokens(1000)
	kubernetes := newTokenCache(ttl)
	for _, lib := range turned([]struct {
		name string
		hash func(token string) byte
	}{
		{"sha256", func(token string) byte {
			var keyed [32 + 64]byte
			copy(keyed[32:], token)
			return sha256.Sum256(keyed[:])[0]
		}},
		{"kubernetes", func(token string) byte { return kubernetes.key(token)[0] }},
	}) {
		b.Run("lib="+lib.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var sum byte
				for i := 0; pb.Next(); i++ {
					sum += lib.hash(ts[i%len(ts)])
				}
				_ = sum
			})
		})
	}
}

// How much memory an entry takes, with its key of 64 bytes where that is kept, and
// without what verdicts weigh.
func TestBytesPerEntry(t *testing.T) {
	n := 50_000
	if full() {
		n = 1_000_000
	}
	tab := newTable("bytes", "", fmt.Sprintf("bytes per entry, of %d", n), "keeps the credential")
	bytes := map[string]float64{}
	for _, c := range caches {
		before := heapAlloc()
		s := c.new(n+n/2, echo)
		for _, token := range tokens(n) {
			s.set(token, "user")
		}
		bytes[c.name] = (heapAlloc() - before) / float64(n)
		runtime.KeepAlive(s)
		s.close()
		keeps := "yes"
		if c.name == "ours" || c.name == "kubernetes" {
			keeps = "no"
		}
		tab.add(c.name, int(bytes[c.name]), keeps)
	}
	tab.show(t)
	require.Less(t, bytes["ours"], bytes["otter"])
}

func heapAlloc() float64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// Which share of requests finds its entry, with room for a tenth of the keys.
func TestHitRatio(t *testing.T) {
	const keys = 100_000
	requests := 100_000
	if full() {
		requests = 1_000_000
	}
	ts := tokens(keys)
	tab := newTable("hitratio", "", "hits")
	hits := map[string]float64{}
	for _, c := range caches {
		if c.name == "kubernetes" {
			continue // without a bound
		}
		var loads atomic.Int64
		s := c.new(keys/10, func(context.Context, string) (string, error) {
			loads.Add(1)
			return "user", nil
		})
		next := zipf(keys)
		for range requests {
			_, err := s.fetch(t.Context(), ts[next()])
			require.NoError(t, err)
		}
		s.close()
		hits[c.name] = 100 - 100*float64(loads.Load())/float64(requests)
		tab.add(c.name, fmt.Sprintf("%.1f %%", hits[c.name]))
	}
	tab.show(t)
	require.Greater(t, hits["ours"], hits["otter"]-1)
	require.Greater(t, hits["ours"], hits["expirable"])
}
