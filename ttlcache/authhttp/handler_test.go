package authhttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

type forward = authhttp.Forward[string, string]

// cacheOf is an auth cache before p.
func cacheOf(p *ttlcachetest.Provider) *ttlcache.Cache[string, string] {
	return ttlcache.New(p.Load, ttlcache.Config[string, string]{
		Denied: ttlcachetest.Denied, DenyTTL: time.Minute, TTL: time.Minute,
	})
}

// request is a subrequest with these headers, in pairs.
func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/auth", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHandlerAnswers(t *testing.T) {
	var p ttlcachetest.Provider
	p.Know("good", "ada")
	h := authhttp.Handler(cacheOf(&p), forward{
		Grant: func(h http.Header, user string) { h.Set("X-User", user) },
		Allow: func(r *http.Request, _ string) bool { return r.Header.Get("X-Forwarded-Uri") != "/admin" },
	})
	w := serve(h, request("Authorization", "Bearer good"))
	require.Equal(t, http.StatusOK, w.Code, "Envoy lets nothing else pass")
	require.Equal(t, "ada", w.Header().Get("X-User"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))

	w = serve(h, request("Authorization", "bearer  bad"))
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Equal(t, `Bearer error="invalid_token"`, w.Header().Get("WWW-Authenticate"))
	require.Empty(t, w.Header().Get("X-User"))

	w = serve(h, request("Authorization", "Bearer good", "X-Forwarded-Uri", "/admin"))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, `Bearer error="insufficient_scope"`, w.Header().Get("WWW-Authenticate"))
	require.Empty(t, w.Header().Get("X-User"))
}

func TestNoCredentialAsksNobody(t *testing.T) {
	var p ttlcachetest.Provider
	h := authhttp.Handler(cacheOf(&p), forward{})
	for name, r := range map[string]*http.Request{
		"no header":     request(),
		"empty header":  request("Authorization", ""),
		"other scheme":  request("Authorization", "Basic YWRhOnB3"),
		"empty token":   request("Authorization", "Bearer "),
		"no token":      request("Authorization", "Bearer"),
		"two tokens":    request("Authorization", "Bearer one two"),
		"list":          request("Authorization", "Bearer one,two"),
		"two headers":   request("Authorization", "Bearer one", "Authorization", "Bearer two"),
		"glued":         request("Authorization", "Bearerone"),
		"another place": request("X-Token", "Bearer one"),
	} {
		w := serve(h, r)
		require.Equal(t, http.StatusUnauthorized, w.Code, name)
		require.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"), name)
	}
	require.Zero(t, p.Stats().Asked)
}

func TestChallengeAndCredentialOfOnesOwn(t *testing.T) {
	type cred struct{ token, host string }
	var p ttlcachetest.Provider
	p.Know("t@a.example", "ada")
	cache := ttlcache.New(func(ctx context.Context, c cred) (string, error) { return p.Load(ctx, c.token+"@"+c.host) },
		ttlcache.Config[cred, string]{
			Key:    func(h *ttlcache.Hash, c cred) { h.String(c.token); h.String(c.host) },
			Denied: ttlcachetest.Denied, TTL: time.Minute,
		})
	h := authhttp.Handler(cache, authhttp.Forward[cred, string]{
		Challenge: `Cookie realm="x"`,
		Credential: func(r *http.Request) (cred, bool) {
			c, err := r.Cookie("session")
			if err != nil {
				return cred{}, false
			}
			return cred{c.Value, r.Header.Get("X-Forwarded-Host")}, true
		},
	})
	require.Equal(t, http.StatusOK, serve(h, request("Cookie", "session=t", "X-Forwarded-Host", "a.example")).Code)
	w := serve(h, request("Cookie", "session=t", "X-Forwarded-Host", "b.example"))
	require.Equal(t, http.StatusUnauthorized, w.Code, "a verdict of one host is none of another")
	require.Equal(t, `Cookie realm="x"`, w.Header().Get("WWW-Authenticate"))
	require.Equal(t, http.StatusUnauthorized, serve(h, request()).Code)
}

// What is no verdict is 503 with a hint that is never short, and never 401.
func TestNoVerdictIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p ttlcachetest.Provider
		h := authhttp.Handler(cacheOf(&p), forward{})
		p.Fail(errors.New("away"))
		w := serve(h, request("Authorization", "Bearer x"))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.NotEmpty(t, w.Header().Get("Retry-After-Ms"))
		require.Empty(t, w.Header().Get("WWW-Authenticate"))

		p.Fail(nil)
		p.Hang(true)
		w = serve(h, request("Authorization", "Bearer y")) // until LoadTimeout
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		p.Hang(false)
	})
}

// The provider's own Retry-After reaches the client.
func TestHintOfTheProvider(t *testing.T) {
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer idp.Close()
	cache := ttlcache.New(authhttp.Introspect(authhttp.Provider{URL: idp.URL, Client: idp.Client()}),
		ttlcache.Config[string, authhttp.Claims]{Denied: authhttp.Denied, TTL: time.Minute})
	w := serve(authhttp.Handler(cache, authhttp.Forward[string, authhttp.Claims]{}), request("Authorization", "Bearer x"))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "7", w.Header().Get("Retry-After"))
	require.Equal(t, "7000", w.Header().Get("Retry-After-Ms"))
}

func TestHandlerPanics(t *testing.T) {
	require.PanicsWithValue(t, "authhttp: Handler with nil cache", func() { authhttp.Handler(nil, forward{}) })
	ints := ttlcache.New(func(context.Context, int) (string, error) { return "", nil },
		ttlcache.Config[int, string]{Key: func(h *ttlcache.Hash, c int) { h.Uint64(uint64(c)) }})
	require.PanicsWithValue(t, "authhttp: Handler: Forward.Credential is nil and the credential is not string",
		func() { authhttp.Handler(ints, authhttp.Forward[int, string]{}) })
}
