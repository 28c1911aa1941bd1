package authhttp_test

import (
	"net/http"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
)

// What the package comment shows. The examples run it with a provider of their own.
var _ = func(secret string) {
	ask := authhttp.Introspect(authhttp.Provider{
		URL:      "https://idp.example.com/oauth2/introspect",
		ClientID: "gateway", ClientSecret: secret,
	})
	cache := ttlcache.New(ask, ttlcache.Config[string, authhttp.Claims]{
		Denied: authhttp.Denied, DenyTTL: 2 * time.Second,
		TTL: time.Minute, Expires: authhttp.Expires,
	})
	http.Handle("/auth", authhttp.Handler(cache, authhttp.Forward[string, authhttp.Claims]{
		Grant: func(h http.Header, c authhttp.Claims) { h.Set("X-User", c.Username) },
	}))
}
