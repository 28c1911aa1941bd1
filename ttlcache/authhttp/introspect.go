package authhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrDenied is the verdict "this token is not valid". Wrap it in a load of your own to
// deny a token for a reason that [Introspect] does not know, such as a wrong audience.
var ErrDenied = errors.New("authhttp: the token is not active")

// Denied reports whether err is a verdict. It fits [ttlcache.Config.Denied].
func Denied(err error) bool { return errors.Is(err, ErrDenied) }

// A Provider is an OAuth 2.0 identity provider with an introspection endpoint.
type Provider struct {
	// URL is the introspection endpoint, http or https. It is required: without a valid
	// one every lookup returns a [*ProviderError].
	URL string

	// Client sends the requests. Nil means a client over a copy of http.DefaultTransport that
	// keeps 64 idle connections, or over http.DefaultTransport itself if that has been
	// replaced by something else than an *http.Transport. Redirects are never followed, also
	// if the Client follows them: a redirect would send the token elsewhere.
	Client *http.Client

	// ClientID and ClientSecret are our own credentials, sent by HTTP Basic
	// authentication (RFC 6749, section 2.3.1). An empty ClientID sends none.
	ClientID, ClientSecret string

	// Authorize adds other credentials to a request to the provider, a bearer token for
	// instance. Nil adds none. It runs on the goroutine of the load; its error becomes
	// the cause of a ProviderError.
	Authorize func(*http.Request) error

	// MaxBytes bounds the answer. A longer one is an error. Zero means 64 KiB, below
	// zero there is no bound.
	MaxBytes int64

	// Timeout bounds one request, its answer included, beside the deadline of the
	// context. Zero means 10 s, below zero there is no bound.
	Timeout time.Duration
}

const (
	defaultMaxBytes = 64 << 10
	defaultTimeout  = 10 * time.Second
	idleConns       = 64 // as many as MaxLoads of most caches, and net/http's 2 dial for each other
)

// A ProviderError says that the identity provider gave no verdict. It is no denial.
type ProviderError struct {
	URL    string        // URL is the endpoint that was asked, without its query, user and password.
	Status int           // Status is the status of the provider's answer, 0 without one.
	Err    error         // Err is the cause.
	after  time.Duration // as the provider asked
}

// Error names the provider and the cause. It never contains the token.
func (e *ProviderError) Error() string { return "authhttp: provider " + e.URL + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ProviderError) Unwrap() error { return e.Err }

// RetryAfter returns when the provider wants to be asked again, by its Retry-After
// header. 0 means that it did not say.
func (e *ProviderError) RetryAfter() time.Duration { return e.after }

// Introspect returns a load for [ttlcache.New] that asks p about a token. Its result
// has the claims of an active token, or an error that is [ErrDenied], or a
// [*ProviderError]. The empty token is denied without asking. A token type other than
// access tokens, the audience and the scopes are not judged: wrap the function to do so.
func Introspect(p Provider) func(ctx context.Context, token string) (Claims, error) {
	in := newIntrospector(p)
	return func(ctx context.Context, token string) (Claims, error) {
		if token == "" {
			return Claims{}, ErrDenied
		}
		return in.ask(ctx, token)
	}
}

// An introspector is a Provider with its defaults resolved.
type introspector struct {
	Provider
	name   string // of the provider, in errors
	broken error  // what is wrong with the URL
	client http.Client
}

func newIntrospector(p Provider) *introspector {
	in := &introspector{Provider: p}
	in.name, in.broken = nameOf(p.URL)
	if p.Client != nil {
		in.client = *p.Client
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.MaxIdleConnsPerHost = idleConns
		in.client.Transport = t
	}
	in.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if in.MaxBytes == 0 {
		in.MaxBytes = defaultMaxBytes
	}
	if in.Timeout == 0 {
		in.Timeout = defaultTimeout
	}
	return in
}

// nameOf returns a URL without what may be secret in it, or why it is none.
func nameOf(raw string) (string, error) {
	if raw == "" {
		return "without a URL", errors.New("Provider.URL is empty")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "with a bad URL", errors.New("Provider.URL is no absolute http or https URL")
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), nil
}

func (in *introspector) ask(ctx context.Context, token string) (Claims, error) {
	if in.broken != nil {
		return Claims{}, in.failed(0, in.broken)
	}
	if in.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, in.Timeout)
		defer cancel()
	}
	req, err := in.request(ctx, token)
	if err != nil {
		return Claims{}, in.failed(0, err)
	}
	resp, err := in.client.Do(req)
	if err != nil {
		return Claims{}, in.failed(0, withoutURL(err))
	}
	defer resp.Body.Close()
	body, err := in.read(resp)
	if err != nil {
		failed := in.failed(resp.StatusCode, err)
		failed.after = retryAfter(resp.Header)
		return Claims{}, failed
	}
	claims, active, err := parseClaims(body)
	switch {
	case err != nil:
		return Claims{}, in.failed(resp.StatusCode, err)
	case !active:
		return Claims{}, ErrDenied
	}
	return claims, nil
}

func (in *introspector) request(ctx context.Context, token string) (*http.Request, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, in.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// A lookup changes nothing: net/http may send it again if an idle connection was
	// closed under it (golang/go#19943). The nil value is not sent.
	req.Header["Idempotency-Key"] = nil
	if in.ClientID != "" {
		req.SetBasicAuth(url.QueryEscape(in.ClientID), url.QueryEscape(in.ClientSecret))
	}
	if in.Authorize != nil {
		if err := in.Authorize(req); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// read returns the body of an answer that can be an introspection response.
func (in *introspector) read(resp *http.Response) ([]byte, error) {
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return nil, fmt.Errorf("it refuses our client credentials: status %d", code)
	case code >= 300 && code < 400:
		return nil, fmt.Errorf("it redirects, which is not followed: status %d", code)
	case code != http.StatusOK:
		return nil, fmt.Errorf("status %d", code)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "application/json" {
		return nil, fmt.Errorf("the answer is %q, not application/json", kind)
	}
	if in.MaxBytes < 0 {
		return io.ReadAll(resp.Body)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, in.MaxBytes+1))
	if err == nil && int64(len(body)) > in.MaxBytes {
		err = fmt.Errorf("the answer is longer than %d bytes", in.MaxBytes)
	}
	return body, err
}

func (in *introspector) failed(status int, err error) *ProviderError {
	return &ProviderError{URL: in.name, Status: status, Err: err}
}

// withoutURL drops the URL that net/http puts before an error: it may hold a password.
func withoutURL(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}

// retryAfter reads whole seconds or a date.
func retryAfter(h http.Header) time.Duration {
	const longest = int64(time.Hour / time.Second * 24)
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), longest)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
