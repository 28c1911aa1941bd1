package ttlcache_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// countLookups is what is to be tested: it makes a request a second for two minutes.
func countLookups(ctx context.Context) (lookups int) {
	cache := ttlcache.New(func(context.Context, string) (string, error) {
		lookups++
		return "ada", nil
	}, ttlcache.Config[string, string]{TTL: time.Minute, Jitter: -1}) // exact lives
	for range 120 {
		_, _ = cache.Get(ctx, "t0k3n")
		time.Sleep(time.Second)
	}
	return lookups
}

// In a testing/synctest bubble two minutes pass in no time, and exactly. The cache
// has no goroutine that would have to be stopped before the bubble ends.
func Example_synctest() {
	var t testing.T // a test has its own
	synctest.Test(&t, func(t *testing.T) {
		fmt.Println(countLookups(t.Context()))
	})
	// Output: 2
}
