package ttlcache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// Two replicas of a server share what the identity provider has said. The tier in memory
// stands for contrib/redistier.
func ExampleTier() {
	ctx, tier := context.Background(), ttlcachetest.NewTier()
	var idp ttlcachetest.Provider
	config := ttlcache.Config[string, string]{
		TTL: time.Minute, Tier: tier, Secret: bytes.Repeat([]byte("32 random bytes "), 2),
	}
	first, second := ttlcache.New(idp.Load, config), ttlcache.New(idp.Load, config)
	defer first.Close()
	defer second.Close()

	_, _ = first.Get(ctx, "token")
	user, err := second.Get(ctx, "token")
	fmt.Println(user, err, idp.Stats().Asked)
	// Output: user of token <nil> 1
}

// A codec for verdicts that JSON would not keep, here because the field is not exported.
func ExampleCodec() {
	type account struct{ id uint64 }
	codec := ttlcache.Codec[account]{
		Version: 1,
		Encode:  func(a account) ([]byte, error) { return binary.BigEndian.AppendUint64(nil, a.id), nil },
		Decode: func(b []byte) (account, error) {
			if len(b) != 8 {
				return account{}, errors.New("no account")
			}
			return account{binary.BigEndian.Uint64(b)}, nil
		},
	}
	b, _ := codec.Encode(account{42})
	a, err := codec.Decode(b)
	fmt.Println(a.id, err)
	// Output: 42 <nil>
}

// The zero Revocation is a heartbeat; here a follower prints what it hears.
func ExampleRevocation() {
	tier := ttlcachetest.NewTier()
	ctx, cancel := context.WithCancel(context.Background())
	_ = tier.Revoke(ctx, ttlcache.Revocation{Keys: [][32]byte{{1}}})
	_ = tier.Follow(ctx, func(r ttlcache.Revocation, at uint64) {
		fmt.Println("all:", r.All, "keys:", len(r.Keys), "tags:", len(r.Tags))
		if !r.All && len(r.Keys) == 0 {
			cancel()
		}
	})
	// Output:
	// all: true keys: 0 tags: 0
	// all: false keys: 1 tags: 0
	// all: false keys: 0 tags: 0
}

// A logout that must be known everywhere looks at the error.
func ExampleCache_RevokeContext() {
	ctx, tier := context.Background(), ttlcachetest.NewTier()
	var idp ttlcachetest.Provider
	cache := ttlcache.New(idp.Load, ttlcache.Config[string, string]{
		TTL: time.Minute, Tier: tier, Secret: bytes.Repeat([]byte("32 random bytes "), 2),
	})
	defer cache.Close()
	_, _ = cache.Get(ctx, "token")

	tier.Down(true)
	err := cache.RevokeContext(ctx, "token")
	_, here := cache.Peek("token")
	fmt.Println(err, here)
	// Output: ttlcachetest: the tier is down false
}

// All sessions of a user end, on every replica.
func ExampleCache_RevokeTag() {
	ctx := context.Background()
	var idp ttlcachetest.Provider
	idp.Know("laptop", "ada")
	idp.Know("phone", "ada")
	idp.Know("desktop", "bob")
	cache := ttlcache.New(idp.Load, ttlcache.Config[string, string]{
		TTL:  time.Minute,
		Tags: func(user string) []string { return strings.Fields(user) },
	})
	for _, token := range []string{"laptop", "phone", "desktop"} {
		_, _ = cache.Get(ctx, token)
	}
	err := cache.RevokeTag(ctx, "ada")
	fmt.Println(err, cache.Len())
	// Output: <nil> 1
}

// A cache with a tier follows its log until Close.
func ExampleCache_Close() {
	var idp ttlcachetest.Provider
	cache := ttlcache.New(idp.Load, ttlcache.Config[string, string]{
		TTL: time.Minute, Tier: ttlcachetest.NewTier(), Secret: bytes.Repeat([]byte("32 random bytes "), 2),
	})
	cache.Close()
	user, err := cache.Get(context.Background(), "token")
	fmt.Println(user, err)
	// Output: user of token <nil>
}

// A server that opens its port after this begins with a warm cache. One whose tier is away
// opens it after a second all the same.
func ExampleCache_WaitTier() {
	var idp ttlcachetest.Provider
	cache := ttlcache.New(idp.Load, ttlcache.Config[string, string]{
		TTL: time.Minute, Tier: ttlcachetest.NewTier(), Secret: bytes.Repeat([]byte("32 random bytes "), 2),
	})
	defer cache.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println(cache.WaitTier(ctx))
	// Output: <nil>
}
