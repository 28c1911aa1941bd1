package authhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// startProvider is an identity provider that knows ada's token.
func startProvider() *httptest.Server {
	var idp ttlcachetest.Provider
	idp.Know("ada's-token", "ada")
	return httptest.NewServer(&idp)
}

// From the URL of an introspection endpoint to a cache: a bad token is asked about once
// in DenyTTL, a good one once in TTL.
func ExampleIntrospect() {
	idp := startProvider()
	defer idp.Close()

	ask := authhttp.Introspect(authhttp.Provider{
		URL: idp.URL, ClientID: "gateway", ClientSecret: "of the gateway",
		Client: idp.Client(), // in a service: &http.Client{Transport: transport.New(32)}
	})
	cache := ttlcache.New(ask, ttlcache.Config[string, authhttp.Claims]{
		Denied: authhttp.Denied, DenyTTL: 2 * time.Second,
		TTL: time.Minute, Expires: authhttp.Expires,
	})
	for _, token := range []string{"ada's-token", "ada's-token", "a-guess", "a-guess"} {
		claims, err := cache.Get(context.Background(), token)
		fmt.Printf("%q %v\n", claims.Username, err)
	}
	fmt.Println("lookups:", cache.Stats().Loads)
	// Output:
	// "ada" <nil>
	// "ada" <nil>
	// "" authhttp: the token is not active
	// "" authhttp: the token is not active
	// lookups: 2
}

// A token for another service is active, and still not for us: a load of one's own
// denies it with ErrDenied.
func ExampleDenied() {
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"active":true,"aud":"another service"}`)
	}))
	defer idp.Close()

	ask := authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()})
	load := func(ctx context.Context, token string) (authhttp.Claims, error) {
		claims, err := ask(ctx, token)
		if err == nil && !slices.Contains(claims.Audience, "our service") {
			err = fmt.Errorf("%w for this audience", authhttp.ErrDenied)
		}
		return claims, err
	}
	_, err := load(context.Background(), "token")
	fmt.Println(authhttp.Denied(err), err)
	// Output: true authhttp: the token is not active for this audience
}

// The life of a verdict ends with the token's own.
func ExampleExpires() {
	fmt.Println(authhttp.Expires(authhttp.Claims{Expires: time.Unix(1700000000, 0)}).UTC())
	fmt.Println(authhttp.Expires(authhttp.Claims{}).IsZero())
	// Output:
	// 2023-11-14 22:13:20 +0000 UTC
	// true
}

// The endpoint behind nginx, Traefik, Caddy or Envoy.
func ExampleHandler() {
	idp := startProvider()
	defer idp.Close()
	cache := ttlcache.New(authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()}),
		ttlcache.Config[string, authhttp.Claims]{
			Denied: authhttp.Denied, DenyTTL: 2 * time.Second,
			TTL: time.Minute, Expires: authhttp.Expires,
		})
	auth := authhttp.Handler(cache, authhttp.Forward[string, authhttp.Claims]{
		Grant: func(h http.Header, c authhttp.Claims) { h.Set("X-User", c.Username) },
	})
	for _, authorization := range []string{"Bearer ada's-token", "Bearer a-guess", "Basic YWRhOnB3"} {
		r := httptest.NewRequest(http.MethodGet, "/auth", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		auth.ServeHTTP(w, r)
		fmt.Printf("%d %q %q\n", w.Code, w.Header().Get("X-User"), w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 200 "ada" ""
	// 401 "" "Bearer error=\"invalid_token\""
	// 401 "" "Bearer"
}

// Only one bearer token in one header counts.
func ExampleBearer() {
	r := httptest.NewRequest(http.MethodGet, "/auth", nil)
	r.Header.Set("Authorization", "bearer abc")
	fmt.Println(authhttp.Bearer(r))
	r.Header.Add("Authorization", "Bearer def")
	fmt.Println(authhttp.Bearer(r))
	// Output:
	// abc true
	//  false
}

// Claims have what the provider said, its own members included.
func ExampleClaims() {
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"active":true,"username":"ada","scope":"read write","org":"7"}`)
	}))
	defer idp.Close()
	claims, _ := authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()})(context.Background(), "token")
	var own struct{ Org string }
	_ = json.Unmarshal(claims.Raw, &own)
	fmt.Println(claims.Username, claims.Scopes, own.Org)
	// Output: ada [read write] 7
}

// A provider that is authenticated to by a bearer token of our own instead of a password.
func ExampleProvider() {
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"active":%t}`, r.Header.Get("Authorization") == "Bearer ours")
	}))
	defer idp.Close()
	ask := authhttp.Introspect(authhttp.Provider{
		URL: idp.URL, Client: idp.Client(),
		Authorize: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer ours"); return nil },
	})
	_, err := ask(context.Background(), "token")
	fmt.Println(err)
	// Output: <nil>
}

// A provider that is busy says when to ask again; nothing of it is a denial.
func ExampleProviderError() {
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer idp.Close()
	_, err := authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()})(context.Background(), "token")
	var failed *authhttp.ProviderError
	fmt.Println(errors.As(err, &failed), failed.Status, failed.RetryAfter(), authhttp.Denied(err))
	// Output: true 429 7s false
}

// A cache of tokens in a cookie, each valid for one host.
func ExampleForward() {
	type session struct{ token, host string }
	var idp ttlcachetest.Provider
	idp.Know("7@app.example.com", "ada")
	cache := ttlcache.New(func(ctx context.Context, s session) (string, error) { return idp.Load(ctx, s.token+"@"+s.host) },
		ttlcache.Config[session, string]{
			Key:    func(h *ttlcache.Hash, s session) { h.String(s.token); h.String(s.host) },
			Denied: ttlcachetest.Denied, DenyTTL: time.Second, TTL: time.Minute,
		})
	auth := authhttp.Handler(cache, authhttp.Forward[session, string]{
		Credential: func(r *http.Request) (session, bool) {
			c, err := r.Cookie("session")
			if err != nil {
				return session{}, false
			}
			return session{c.Value, r.Header.Get("X-Forwarded-Host")}, true
		},
		Challenge: `Cookie realm="app"`,
	})
	for _, host := range []string{"app.example.com", "other.example.com"} {
		r := httptest.NewRequest(http.MethodGet, "/auth", nil)
		r.AddCookie(&http.Cookie{Name: "session", Value: "7"})
		r.Header.Set("X-Forwarded-Host", host)
		w := httptest.NewRecorder()
		auth.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 200 ""
	// 401 "Cookie realm=\"app\""
}
