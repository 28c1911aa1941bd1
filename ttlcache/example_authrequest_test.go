package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

var (
	errWrongToken   = errors.New("wrong token")
	errProviderAway = errors.New("provider is away")
)

// lookUp stands for a call to an identity provider.
func lookUp(_ context.Context, token string) (string, error) {
	switch token {
	case "ada's token":
		return "ada", nil
	case "in an outage":
		return "", errProviderAway
	}
	return "", errWrongToken
}

// An authRequest answers the subrequests of nginx's auth_request. nginx lets 2xx
// through, returns 401 and 403, and makes 500 of all else. So that clients see the
// 503, and when to come back, its configuration needs:
//
//	location / {
//		auth_request /auth;
//		auth_request_set $user        $upstream_http_x_user;
//		auth_request_set $retry_after $upstream_http_retry_after;
//		error_page 500 = @unavailable;
//		proxy_set_header X-User $user;
//		proxy_pass http://app;
//	}
//	location = /auth {
//		internal;
//		proxy_pass http://auth;
//		proxy_pass_request_body off;
//		proxy_set_header Content-Length "";
//	}
//	location @unavailable {
//		add_header Retry-After $retry_after always;
//		return 503;
//	}
//
// An error of the application itself is not concerned: without proxy_intercept_errors
// it goes through as it is.
type authRequest struct {
	cache *ttlcache.Cache[string, string]
}

func newAuthRequest() authRequest {
	return authRequest{ttlcache.New(lookUp, ttlcache.Config[string, string]{
		TTL:         time.Minute,
		Denied:      func(err error) bool { return errors.Is(err, errWrongToken) },
		DenyTTL:     2 * time.Second,
		LoadTimeout: 5 * time.Second, // less than proxy_read_timeout
	})}
}

// ServeHTTP implements [http.Handler].
func (a authRequest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" { // there is nothing to ask about
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	user, err := a.cache.Get(r.Context(), token)
	code, wait := a.cache.Status(err)
	switch code {
	case http.StatusOK:
		w.Header().Set("X-User", user)
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	default: // no verdict: never 401, or clients throw good tokens away
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	w.WriteHeader(code)
}

// The endpoint behind nginx's auth_request.
func Example_authRequest() {
	auth := newAuthRequest()
	for _, token := range []string{"ada's token", "a guess", "in an outage"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/auth", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		auth.ServeHTTP(w, r)
		fmt.Printf("%d %q %q\n", w.Code, w.Header().Get("X-User"), w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 "ada" ""
	// 401 "" ""
	// 503 "" "1"
}
