package ttlcachetest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// A lease is good for one answer, and only until its key is revoked.
func ExampleTier() {
	ctx, tier := context.Background(), ttlcachetest.NewTier()
	key := [32]byte{1}
	_, _, lease, _ := tier.Get(ctx, key)
	_ = tier.Revoke(ctx, ttlcache.Revocation{Keys: [][32]byte{key}})
	fmt.Println(tier.Put(ctx, key, lease, []byte("sealed"), time.Minute))
	// Output: ttlcache: the tier knows no such lease
}

// NewTier returns what several caches of one test can share.
func ExampleNewTier() {
	tier := ttlcachetest.NewTier()
	tier.Down(true)
	_, _, _, err := tier.Get(context.Background(), [32]byte{})
	fmt.Println(err)
	// Output: ttlcachetest: the tier is down
}

// A link is cut for one cache, and not for the others.
func ExampleLink() {
	tier := ttlcachetest.NewTier()
	here, there := tier.Link(), tier.Link()
	here.Cut(true)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, _, err := here.Get(ctx, [32]byte{})
	fmt.Println(err)
	_, _, _, err = there.Get(context.Background(), [32]byte{})
	fmt.Println(err)
	// Output:
	// context deadline exceeded
	// <nil>
}

// A test of one's own tier is one call.
func ExampleCheckTier() {
	_ = func(t *testing.T) {
		ttlcachetest.CheckTier(t, ttlcachetest.NewTier())
	}
	// Output:
}
