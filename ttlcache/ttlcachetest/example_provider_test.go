package ttlcachetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
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

// The same provider as an introspection endpoint, over HTTP.
func ExampleProvider_ServeHTTP() {
	var idp ttlcachetest.Provider
	idp.Know("ada's token", "ada")
	srv := httptest.NewServer(&idp)
	defer srv.Close()

	ask := authhttp.Introspect(authhttp.Provider{URL: srv.URL, Client: srv.Client()})
	claims, err := ask(context.Background(), "ada's token")
	fmt.Println(claims.Username, err)
	_, err = ask(context.Background(), "a guess")
	fmt.Println(err)
	// Output:
	// ada <nil>
	// authhttp: the token is not active
}

// ErrDenied is told from every other error.
func ExampleDenied() {
	fmt.Println(ttlcachetest.Denied(fmt.Errorf("login: %w", ttlcachetest.ErrDenied)))
	fmt.Println(ttlcachetest.Denied(context.DeadlineExceeded))
	// Output:
	// true
	// false
}
