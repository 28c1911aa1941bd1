package authhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
)

// Traefik calls the endpoint with the client's headers and names the request in
// X-Forwarded-Method, -Host and -Uri. A static configuration:
//
//	http:
//	  middlewares:
//	    auth:
//	      forwardAuth:
//	        address: http://auth:8080/auth
//	        authResponseHeaders: [X-User]
//
// Every answer but 2xx goes to the client as it is, the Retry-After of a 503 included.
func newTraefikEndpoint(cache *ttlcache.Cache[string, authhttp.Claims]) http.Handler {
	return authhttp.Handler(cache, authhttp.Forward[string, authhttp.Claims]{
		Allow: func(r *http.Request, c authhttp.Claims) bool {
			return c.Username == "root" || !strings.HasPrefix(r.Header.Get("X-Forwarded-Uri"), "/admin")
		},
		Grant: func(h http.Header, c authhttp.Claims) { h.Set("X-User", c.Username) },
	})
}

// The endpoint behind Traefik's forwardAuth.
func Example_traefik() {
	idp := startProvider()
	defer idp.Close()
	cache := ttlcache.New(authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()}),
		ttlcache.Config[string, authhttp.Claims]{Denied: authhttp.Denied, DenyTTL: time.Second, TTL: time.Minute, Expires: authhttp.Expires})
	auth := newTraefikEndpoint(cache)
	for _, uri := range []string{"/page", "/admin/users"} {
		r := httptest.NewRequest(http.MethodGet, "/auth", nil)
		r.Header.Set("Authorization", "Bearer ada's-token")
		r.Header.Set("X-Forwarded-Method", "GET")
		r.Header.Set("X-Forwarded-Host", "app.example.com")
		r.Header.Set("X-Forwarded-Uri", uri)
		w := httptest.NewRecorder()
		auth.ServeHTTP(w, r)
		fmt.Println(uri, w.Code)
	}
	// Output:
	// /page 200
	// /admin/users 403
}
