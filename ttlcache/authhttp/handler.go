package authhttp

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// Forward says how a [Handler] finds a credential and how it answers. The zero value is
// ready for a cache of bearer tokens.
type Forward[C, V any] struct {
	// Credential returns the credential of a request, and false if it has none: then the
	// answer is 401 and the cache is not asked. Nil means the bearer token of the header
	// Authorization, and is allowed only if C is string. With a token that is valid for some
	// hosts only, make the host part of the credential: r.Header.Get("X-Forwarded-Host").
	Credential func(r *http.Request) (C, bool)

	// Allow reports whether a valid credential may make this request; if not, the answer is
	// 403. The request is the proxy's: Traefik and Caddy name the method, host and path
	// of the client in the headers X-Forwarded-Method, -Host and -Uri. Nil allows all.
	Allow func(r *http.Request, v V) bool

	// Grant sets the headers with which the application learns of the verdict, such as the
	// name of the user. Nil sets none.
	Grant func(h http.Header, v V)

	// Challenge is the value of the header WWW-Authenticate in a 401 and a 403. Empty means
	// Bearer, with the error code of RFC 6750, section 3.1.
	Challenge string
}

// Handler returns an endpoint for the auth subrequests of reverse proxies, which answers
// from cache: see the package comment for nginx, Traefik, Envoy and Caddy. A request
// without credential, with another scheme than Bearer or with an empty token gets 401 with
// WWW-Authenticate, and nobody is asked about it. Handler panics on a nil cache, and on a
// nil [Forward.Credential] if C is not string.
func Handler[C, V any](cache *ttlcache.Cache[C, V], f Forward[C, V]) http.Handler {
	if cache == nil {
		panic("authhttp: Handler with nil cache")
	}
	if f.Credential == nil {
		bearer, ok := any(Bearer).(func(*http.Request) (C, bool))
		if !ok {
			panic("authhttp: Handler: Forward.Credential is nil and the credential is not string")
		}
		f.Credential = bearer
	}
	return &handler[C, V]{f, cache}
}

// Bearer returns the token of the header Authorization, and false if there is none: no
// header, more than one, another scheme, an empty token, or spaces in it.
func Bearer(r *http.Request) (token string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,") {
		return "", false
	}
	return token, true
}

type handler[C, V any] struct {
	Forward[C, V]
	cache *ttlcache.Cache[C, V]
}

// ServeHTTP implements [http.Handler].
func (h *handler[C, V]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	cred, ok := h.Credential(r)
	if !ok {
		h.challenge(w, http.StatusUnauthorized, "")
		return
	}
	v, err := h.cache.Get(r.Context(), cred)
	code, wait := h.cache.Status(err)
	switch {
	case code == http.StatusUnauthorized:
		h.challenge(w, code, "invalid_token")
	case err != nil:
		unavailable(w, code, wait)
	case h.Allow != nil && !h.Allow(r, v):
		h.challenge(w, http.StatusForbidden, "insufficient_scope")
	default:
		if h.Grant != nil {
			h.Grant(w.Header(), v)
		}
		w.WriteHeader(http.StatusOK)
	}
}

// challenge answers 401 or 403. Without a credential there is no error code (RFC 6750).
func (h *handler[C, V]) challenge(w http.ResponseWriter, code int, reason string) {
	c := h.Challenge
	if c == "" {
		c = "Bearer"
		if reason != "" {
			c = fmt.Sprintf("Bearer error=%q", reason)
		}
	}
	w.Header().Set("WWW-Authenticate", c)
	http.Error(w, http.StatusText(code), code)
}

// unavailable answers what is no verdict. Both headers are rounded up: a client that comes
// too early is turned away once more.
func unavailable(w http.ResponseWriter, code int, wait time.Duration) {
	ceil := func(unit time.Duration) string { return strconv.FormatInt(int64((max(wait, 1)-1)/unit)+1, 10) }
	w.Header().Set("Retry-After", ceil(time.Second))
	w.Header().Set("Retry-After-Ms", ceil(time.Millisecond))
	http.Error(w, http.StatusText(code), code)
}
