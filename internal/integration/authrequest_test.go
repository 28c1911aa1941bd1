//go:build linux

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// nginx makes 500 of every answer of an auth_request but 2xx, 401 and 403, and
// drops its headers. An overload must reach the client as what it is: 503, with the
// time after which to come back.
const authRequest = `
		location / {
			auth_request /auth;
			auth_request_set $user $upstream_http_x_user;
			auth_request_set $retry_after $upstream_http_retry_after;
			auth_request_set $retry_after_ms $upstream_http_retry_after_ms;
			error_page 500 = @unavailable;
			proxy_set_header X-User $user;
			proxy_pass %[1]s/app;
		}
		location /plain/ {
			auth_request /auth;
			proxy_pass %[1]s/app;
		}
		location = /auth {
			internal;
			proxy_pass %[1]s/auth;
			proxy_pass_request_body off;
			proxy_set_header Content-Length "";
		}
		location @unavailable {
			add_header Retry-After $retry_after always;
			add_header Retry-After-Ms $retry_after_ms always;
			return 503;
		}`

var errUnknownToken = errors.New("unknown token")

var errAway = errors.New("the provider is away")

// An authenticator answers nginx from a cache in front of an identity provider
// that does two lookups at once, and none while it is held up.
type authenticator struct {
	cache *ttlcache.Cache[string, string]
	held  chan struct{} // lookups of tokens that begin with "slow" wait for it
}

func newAuthenticator() *authenticator {
	a := &authenticator{held: make(chan struct{})}
	a.cache = ttlcache.New(a.lookUp, ttlcache.Config[string, string]{
		TTL:      time.Minute,
		Denied:   func(err error) bool { return errors.Is(err, errUnknownToken) },
		DenyTTL:  time.Minute,
		MaxLoads: 2,
		MaxQueue: 1,
	})
	return a
}

func (a *authenticator) lookUp(ctx context.Context, token string) (string, error) {
	if token == "away" {
		return "", errAway
	}
	user, ok := strings.CutSuffix(token, "-token")
	if !ok {
		return "", errUnknownToken
	}
	if strings.HasPrefix(token, "slow") {
		select {
		case <-a.held:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return user, nil
}

// ServeHTTP implements [http.Handler].
func (a *authenticator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, err := a.cache.Get(r.Context(), r.Header.Get("Authorization"))
	switch {
	case err == nil:
		w.Header().Set("X-User", user)
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, errUnknownToken):
		w.WriteHeader(http.StatusUnauthorized)
	case errors.Is(err, ttlcache.ErrOverloaded):
		var hint interface{ RetryAfter() time.Duration }
		errors.As(err, &hint)
		transport.SetRetryAfter(w.Header(), hint.RetryAfter())
		w.WriteHeader(http.StatusServiceUnavailable)
	default: // away or out of time: no verdict either
		transport.SetRetryAfter(w.Header(), time.Second)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// An nginxClient asks nginx for a path with a token.
type nginxClient struct {
	t   *testing.T
	url string
	*http.Client
}

func (c nginxClient) ask(path, token string) *http.Response {
	req, err := http.NewRequest(http.MethodGet, c.url+path, nil)
	require.NoError(c.t, err)
	req.Header.Set("Authorization", token)
	resp, err := c.Do(req)
	require.NoError(c.t, err)
	require.NoError(c.t, resp.Body.Close())
	return resp
}

func (c nginxClient) status(path, token string) int { return c.ask(path, token).StatusCode }

func TestCacheBehindAuthRequest(t *testing.T) {
	auth := newAuthenticator()
	mux := http.NewServeMux()
	mux.Handle("/auth", auth)
	mux.HandleFunc("/app", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-User") == "broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, r.Header.Get("X-User"))
	})
	backend := httptest.NewServer(mux)
	defer backend.Close()
	n := service.StartNginx(t, fmt.Sprintf(authRequest, backend.URL))
	reuse := &transport.Reuse{}
	defer reuse.CloseIdleConnections()
	client := nginxClient{t, n.URL, &http.Client{Transport: reuse}}

	for range 3 {
		require.Equal(t, http.StatusOK, client.status("/", "ada-token"))
		require.Equal(t, http.StatusUnauthorized, client.status("/", "nonsense"))
	}
	require.EqualValues(t, 2, auth.cache.Stats().Loads, "one lookup for each verdict")
	require.Equal(t, http.StatusInternalServerError, client.status("/", "broken-token"), "what the application says goes through")
	requireUnavailable(t, client, "away")

	// Two lookups are held up and a third is in the queue: full.
	answers := make(chan int)
	for i := range 3 {
		go func() { answers <- client.status("/", fmt.Sprintf("slow%d-token", i)) }()
	}
	require.Eventually(t, func() bool {
		s := auth.cache.Stats()
		return s.Loading == 2 && s.Waiting == 1
	}, waitLimit, waitTick)
	requireUnavailable(t, client, "bob-token")
	require.Equal(t, http.StatusOK, client.status("/", "ada-token"), "a known token needs no lookup")
	require.Equal(t, http.StatusUnauthorized, client.status("/", "nonsense"))

	close(auth.held)
	for range 3 {
		require.Equal(t, http.StatusOK, <-answers)
	}
	require.Equal(t, http.StatusOK, client.status("/", "bob-token"))
	t.Logf("cache: %+v", auth.cache.Stats())
}

// requireUnavailable asks with a token on which there is no verdict.
func requireUnavailable(t *testing.T, client nginxClient, token string) {
	t.Helper()
	resp := client.ask("/", token)
	wait, ok := transport.RetryAfter(resp.Header)
	t.Logf("%s: %s, Retry-After: %s, Retry-After-Ms: %s", token, resp.Status,
		resp.Header.Get("Retry-After"), resp.Header.Get("Retry-After-Ms"))
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.True(t, ok, "the hint got lost on the way")
	require.Positive(t, wait)
	require.Equal(t, http.StatusInternalServerError, client.status("/plain/", token), "what nginx makes of it by itself")
}
