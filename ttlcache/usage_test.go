package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// What the package comment shows.

type User struct{ Name string }

type introspection struct{ ErrInactive error }

func (p introspection) Introspect(_ context.Context, token string) (User, error) {
	switch token {
	case "good":
		return User{"gopher"}, nil
	case "bad":
		return User{}, p.ErrInactive
	}
	return User{}, errors.New("the provider is away")
}

func newAuthCache(idp introspection) *ttlcache.Cache[string, User] {
	cache := ttlcache.New(idp.Introspect, ttlcache.Config[string, User]{
		Denied:   func(err error) bool { return errors.Is(err, idp.ErrInactive) },
		DenyTTL:  2 * time.Second,
		TTL:      time.Minute,
		MaxLoads: 10, // requests that the provider can work on at once
	})
	return cache
}

func greet(cache *ttlcache.Cache[string, User], w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Authorization")
	user, err := cache.Get(r.Context(), token)
	if code, retryAfter := cache.Status(err); code != http.StatusOK {
		transport.SetRetryAfter(w.Header(), retryAfter)
		http.Error(w, http.StatusText(code), code)
		return
	}
	fmt.Fprint(w, "hello ", user.Name)
}

func TestUsage(t *testing.T) {
	cache := newAuthCache(introspection{errors.New("inactive")})
	for token, want := range map[string]int{"good": 200, "bad": 401, "other": 503} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", token)
		greet(cache, w, r)
		require.Equal(t, want, w.Code, token)
	}
}
