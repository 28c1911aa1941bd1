package ttlcache_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// tokens are n strings of 64 bytes.
func tokens(n int) []string {
	ts := make([]string, n)
	for i := range ts {
		ts[i] = fmt.Sprintf("%064d", i)
	}
	return ts
}

func echo(_ context.Context, token string) (string, error) { return token, nil }

// full is a cache that knows all of ts.
func full(b *testing.B, ts []string) *ttlcache.Cache[string, string] {
	c := ttlcache.New(echo, settings{TTL: time.Hour, MaxEntries: 2 * len(ts)})
	now := time.Now()
	for _, token := range ts {
		if !c.Put(token, token, now) {
			b.Fatal("not stored")
		}
	}
	return c
}

var sizes = []int{10_000, 100_000, 1_000_000}

// BenchmarkHit is a Get from memory, its key hashed.
func BenchmarkHit(b *testing.B) {
	for _, n := range sizes {
		ts := tokens(n)
		c := full(b, ts)
		for _, order := range []struct {
			name string
			next func(seed uint64) func() uint64
		}{
			{"uniform", func(seed uint64) func() uint64 {
				r := random(seed)
				return func() uint64 { return r.Uint64N(uint64(n)) }
			}},
			{"zipf", func(uint64) func() uint64 { return zipf(n, 1.01) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", order.name, n), func(b *testing.B) {
				const mask = 1<<16 - 1
				asked := make([]string, mask+1) // so that the draw is not measured
				next := order.next(1)
				for i := range asked {
					asked[i] = ts[next()]
				}
				var goroutine atomic.Uint64
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					ctx := context.Background()
					i := goroutine.Add(1) * 7919
					for pb.Next() {
						if _, err := c.Get(ctx, asked[i&mask]); err != nil {
							b.Error(err)
						}
						i++
					}
				})
			})
		}
	}
}

// BenchmarkDeniedHit is a Get that finds a denial.
func BenchmarkDeniedHit(b *testing.B) {
	c := ttlcache.New(func(context.Context, string) (string, error) { return "", errBad },
		settings{TTL: time.Hour, Denied: isBad, DenyTTL: time.Hour})
	token := tokens(1)[0]
	for b.Loop() {
		_, _ = c.Get(b.Context(), token)
	}
	b.ReportAllocs()
}

// BenchmarkLoad is a Get that loads, and displaces another.
func BenchmarkLoad(b *testing.B) {
	c := ttlcache.New(echo, settings{TTL: time.Hour, MaxEntries: 1000})
	ts := tokens(100_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = c.Get(b.Context(), ts[i%len(ts)])
	}
}

// BenchmarkKey is the hash of a credential, of 64 bytes and as long as a JWT.
func BenchmarkKey(b *testing.B) {
	for _, n := range []int{64, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			digest := ttlcache.NewDigest(nil)
			token := strings.Repeat("t", n)
			key := func(h *ttlcache.Hash) { h.String(token) }
			b.ReportAllocs()
			for b.Loop() {
				digest(key)
			}
		})
	}
}

// BenchmarkBytesPerEntry fills a cache with a million verdicts of a string each, and
// reports what one costs without the bytes of that string.
func BenchmarkBytesPerEntry(b *testing.B) {
	const n = 1_000_000
	ts := tokens(n)
	for b.Loop() {
		before := heap()
		c := full(b, ts)
		b.ReportMetric(float64(heap()-before)/float64(c.Len()), "bytes/entry")
		runtime.KeepAlive(c)
	}
	runtime.KeepAlive(ts)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
