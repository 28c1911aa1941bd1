// Package authhttp connects an auth cache of package ttlcache to HTTP on both
// sides: [Introspect] asks an OAuth 2.0 identity provider about a token (token
// introspection, RFC 7662), and [Handler] answers the auth subrequests of a
// reverse proxy (forward authentication).
//
// # Usage
//
//	ask := authhttp.Introspect(authhttp.Provider{
//		URL:      "https://idp.example.com/oauth2/introspect",
//		ClientID: "gateway", ClientSecret: secret,
//	})
//	cache := ttlcache.New(ask, ttlcache.Config[string, authhttp.Claims]{
//		Denied: authhttp.Denied, DenyTTL: 2 * time.Second,
//		TTL: time.Minute, Expires: authhttp.Expires,
//	})
//	http.Handle("/auth", authhttp.Handler(cache, authhttp.Forward[string, authhttp.Claims]{
//		Grant: func(h http.Header, c authhttp.Claims) { h.Set("X-User", c.Username) },
//	}))
//
// # Verdicts and errors
//
// An identity provider reports a bad token with the status 200 and the body
// {"active":false}. Code that checks only the status and the error treats every
// token as good. Introspect returns an error that is [ErrDenied] instead, which
// [Denied] recognizes. Every other problem is a [*ProviderError]: the provider
// is away, refuses our own client credentials, redirects, or sends something that
// is not JSON or is too long. Such an error is no verdict on the token: the Handler
// answers 503 with a Retry-After header, and never 401.
//
// # Reverse proxies
//
// The Handler answers 200 to a good credential, 401 to a missing or denied one, 403
// to one that [Forward.Allow] refuses, and 503 with Retry-After and Retry-After-Ms
// while there is no verdict. The answer that the client sees depends on the proxy:
//
//   - Traefik (forwardAuth) and Caddy (forward_auth) return every answer that is not
//     2xx to the client as it is.
//   - Envoy (ext_authz, HTTP service) lets only the status 200 pass, and returns other
//     answers to the client. Name retry-after and retry-after-ms in
//     allowed_client_headers, and the headers that Grant sets in
//     allowed_upstream_headers.
//   - nginx (auth_request) passes 2xx, 401 and 403 on and turns everything else,
//     503 included, into 500 without its headers. The configuration below
//     restores the 503 and the headers:
//
// nginx:
//
//	location / {
//		auth_request /auth;
//		auth_request_set $user           $upstream_http_x_user;
//		auth_request_set $retry_after    $upstream_http_retry_after;
//		auth_request_set $retry_after_ms $upstream_http_retry_after_ms;
//		error_page 500 = @unavailable;
//		proxy_set_header X-User $user; # also removes a X-User of the client
//		proxy_pass http://app;
//	}
//	location = /auth {
//		internal;
//		proxy_pass http://auth;
//		proxy_pass_request_body off;
//		proxy_set_header Content-Length "";
//	}
//	location @unavailable {
//		add_header Retry-After    $retry_after    always;
//		add_header Retry-After-Ms $retry_after_ms always;
//		return 503;
//	}
//
// A status 500 of the application itself is not affected: without
// proxy_intercept_errors nginx passes it through.
//
// # Concurrency
//
// The functions that Introspect and Handler return may be used by any number of
// goroutines.
//
// # Expected behaviour of callers
//
// Set [ttlcache.Config.LoadTimeout] below the proxy's time-out for the subrequest
// (60 s in nginx, 30 s in Traefik, 200 ms in Envoy: raise that one), or the proxy gives up
// first. Let the proxy overwrite the headers that Grant sets on every request: otherwise
// a client chooses its own X-User.
//
// # When not to use it
//
// For tokens that are verified locally by their signature and for which no revocation
// has to be looked up: nobody is asked, so nothing has to be cached.
//
// # Testing
//
// Package ttlcachetest has an identity provider that is slow, hangs, denies and counts, as
// a load function and as an introspection endpoint.
package authhttp
