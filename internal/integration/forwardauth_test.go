//go:build linux

package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// A forwardAuth is an application and authhttp.Handler behind a reverse proxy, in front of
// an identity provider that is asked by introspection.
type forwardAuth struct {
	cache    *ttlcache.Cache[string, authhttp.Claims]
	provider ttlcachetest.Provider
	url      string // of application and handler
}

func newForwardAuth(t *testing.T) *forwardAuth {
	f := &forwardAuth{}
	f.provider.Know("ada-token", "ada")
	f.provider.Know("bob-token", "bob")
	idp := httptest.NewServer(&f.provider)
	t.Cleanup(idp.Close)
	f.cache = ttlcache.New(authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()}),
		ttlcache.Config[string, authhttp.Claims]{
			Denied: authhttp.Denied, DenyTTL: time.Minute,
			TTL: time.Minute, Expires: authhttp.Expires,
			MaxLoads: 2, MaxQueue: 1, LoadTimeout: 5 * time.Second,
		})
	mux := http.NewServeMux()
	mux.Handle("/auth", authhttp.Handler(f.cache, authhttp.Forward[string, authhttp.Claims]{
		Grant: func(h http.Header, c authhttp.Claims) { h.Set("X-User", c.Username) },
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-User")) })
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)
	f.url = app.URL
	return f
}

// The directives of the package comment of authhttp.
const nginxForwardAuth = `
		location / {
			auth_request /auth;
			auth_request_set $user           $upstream_http_x_user;
			auth_request_set $retry_after    $upstream_http_retry_after;
			auth_request_set $retry_after_ms $upstream_http_retry_after_ms;
			error_page 500 = @unavailable;
			proxy_set_header X-User $user;
			proxy_pass %[1]s;
		}
		location = /auth {
			internal;
			proxy_pass %[1]s;
			proxy_pass_request_body off;
			proxy_set_header Content-Length "";
		}
		location @unavailable {
			add_header Retry-After    $retry_after    always;
			add_header Retry-After-Ms $retry_after_ms always;
			return 503;
		}`

const caddyForwardAuth = `
	forward_auth %[1]s {
		uri /auth
		copy_headers X-User
	}
	reverse_proxy %[1]s`

func TestForwardAuth(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, app string) string{
		"nginx": func(t *testing.T, app string) string {
			return service.StartNginx(t, fmt.Sprintf(nginxForwardAuth, app)).URL
		},
		"caddy": func(t *testing.T, app string) string {
			return service.StartCaddy(t, fmt.Sprintf(caddyForwardAuth, app)).URL
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForwardAuth(t)
			f.play(t, start(t, f.url))
		})
	}
}

func (f *forwardAuth) play(t *testing.T, proxy string) {
	reuse := &transport.Reuse{}
	t.Cleanup(reuse.CloseIdleConnections)
	get := func(authorization string) (*http.Response, string) {
		req, err := http.NewRequest(http.MethodGet, proxy+"/page?x=1", nil)
		require.NoError(t, err)
		req.Header.Set("X-User", "chosen by the client")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := (&http.Client{Transport: reuse}).Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp, string(body)
	}

	for range 3 {
		resp, body := get("Bearer ada-token")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, "ada", body, "the application's X-User is not the client's")
		resp, _ = get("Bearer nonsense")
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		require.Equal(t, `Bearer error="invalid_token"`, resp.Header.Get("WWW-Authenticate"))
	}
	require.EqualValues(t, 2, f.provider.Stats().Asked, "one question for each token")
	for _, none := range []string{"", "Bearer ", "Basic YWRhOnB3"} {
		resp, _ := get(none)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode, none)
		require.Equal(t, "Bearer", resp.Header.Get("WWW-Authenticate"))
	}
	require.EqualValues(t, 2, f.provider.Stats().Asked, "nobody is asked about no token")

	unavailable := func(authorization string) {
		resp, _ := get(authorization)
		wait, ok := transport.RetryAfter(resp.Header)
		t.Logf("%s: Retry-After %s, Retry-After-Ms %s", resp.Status, resp.Header.Get("Retry-After"), resp.Header.Get("Retry-After-Ms"))
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.True(t, ok, "the hint got lost on the way")
		require.Positive(t, wait)
	}
	// Two lookups hang, a third is in the queue: full.
	f.provider.Hang(true)
	done := make(chan struct{})
	for i := range 3 {
		go func() { get(fmt.Sprintf("Bearer slow-%d", i)); done <- struct{}{} }()
	}
	require.Eventually(t, func() bool {
		s := f.cache.Stats()
		return s.Loading == 2 && s.Waiting == 1
	}, waitLimit, waitTick)
	unavailable("Bearer bob-token")
	resp, body := get("Bearer ada-token")
	require.Equal(t, http.StatusOK, resp.StatusCode, "a remembered token needs no lookup")
	require.Equal(t, "ada", body)
	f.provider.Hang(false)
	for range 3 {
		<-done
	}
	resp, body = get("Bearer bob-token")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "bob", body)

	f.provider.Fail(errAway)
	unavailable("Bearer carol-token")
}
