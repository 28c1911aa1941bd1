package authhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
)

// Envoy's ext_authz calls an HTTP service with the method and the path of the client's
// request, behind a prefix. It lets only the status 200 pass, and drops all headers
// that it was not told of:
//
//	http_filters:
//	- name: envoy.filters.http.ext_authz
//	  typed_config:
//	    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
//	    http_service:
//	      server_uri: { uri: http://auth:8080, cluster: auth, timeout: 6s }
//	      path_prefix: /auth
//	      authorization_response:
//	        allowed_upstream_headers: { patterns: [{ exact: x-user }] }
//	        allowed_client_headers: { patterns: [{ exact: retry-after }, { exact: retry-after-ms }, { exact: www-authenticate }] }
//	    failure_mode_allow: false
//
// The time-out is longer than LoadTimeout, so that it is the cache which gives up.
func newEnvoyEndpoint(cache *ttlcache.Cache[string, authhttp.Claims]) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/auth/", authhttp.Handler(cache, authhttp.Forward[string, authhttp.Claims]{
		Grant: func(h http.Header, c authhttp.Claims) { h.Set("X-User", c.Username) },
	}))
	return mux
}

// The endpoint behind Envoy's ext_authz.
func Example_envoy() {
	idp := startProvider()
	defer idp.Close()
	cache := ttlcache.New(authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()}),
		ttlcache.Config[string, authhttp.Claims]{
			Denied: authhttp.Denied, DenyTTL: time.Second, TTL: time.Minute, Expires: authhttp.Expires, LoadTimeout: 5 * time.Second,
		})
	auth := newEnvoyEndpoint(cache)
	for _, token := range []string{"ada's-token", "a-guess"} {
		r := httptest.NewRequest(http.MethodDelete, "/auth/orders/7", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		auth.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("X-User"))
	}
	// Output:
	// 200 ada
	// 401
}
