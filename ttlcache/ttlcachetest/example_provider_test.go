package ttlcachetest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// A provider that is away costs no verdict that was given before.
func ExampleProvider() {
	var idp ttlcachetest.Provider
	idp.Know("ada's token", "ada")
	cache := ttlcache.New(idp.Load, ttlcache.Config[string, string]{
		Denied: ttlcachetest.Denied, DenyTTL: time.Minute, TTL: time.Minute,
	})
	for range 3 {
		user, _ := cache.Get(context.Background(), "ada's token")
		_, err := cache.Get(context.Background(), "a guess")
		fmt.Println(user, ttlcachetest.Denied(err))
		idp.Fail(errors.New("the provider is away"))
	}
	fmt.Println("asked:", idp.Stats().Asked)
	// Output:
	// ada true
	// ada true
	// ada true
	// asked: 2
}

// ErrDenied is told from every other error.
func ExampleDenied() {
	fmt.Println(ttlcachetest.Denied(fmt.Errorf("login: %w", ttlcachetest.ErrDenied)))
	fmt.Println(ttlcachetest.Denied(context.DeadlineExceeded))
	// Output:
	// true
	// false
}
