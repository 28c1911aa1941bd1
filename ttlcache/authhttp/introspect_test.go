package authhttp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
)

// ask asks a provider that answers with h about token.
func ask(t *testing.T, h http.HandlerFunc, p authhttp.Provider, token string) (authhttp.Claims, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	p.URL = srv.URL + "/introspect?hidden=1"
	p.Client = srv.Client()
	return authhttp.Introspect(p)(t.Context(), token)
}

// says is a provider that answers 200 with body as JSON.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		io.WriteString(w, body)
	}
}

// requireNoVerdict checks that err names the provider and is no denial.
func requireNoVerdict(t *testing.T, err error) *authhttp.ProviderError {
	t.Helper()
	var failed *authhttp.ProviderError
	require.ErrorAs(t, err, &failed)
	require.False(t, authhttp.Denied(err), "%v", err)
	require.ErrorContains(t, err, failed.URL)
	require.NotContains(t, err.Error(), "secret-token")
	require.NotContains(t, err.Error(), "hidden")
	return failed
}

func TestIntrospectSendsWhatTheRFCAsksFor(t *testing.T) {
	var form, user, password, kind, extra string
	_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		form, kind, extra = r.PostFormValue("token")+" "+r.PostFormValue("token_type_hint"), r.Header.Get("Content-Type"), r.Header.Get("X-Extra")
		user, password, _ = r.BasicAuth()
		says(`{"active":true}`)(w, r)
	}, authhttp.Provider{
		ClientID: "a gate:way", ClientSecret: "ü&+",
		Authorize: func(r *http.Request) error { r.Header.Set("X-Extra", "yes"); return nil },
	}, "a+b&c")
	require.NoError(t, err)
	require.Equal(t, "a+b&c access_token", form)
	require.Equal(t, "application/x-www-form-urlencoded", kind)
	require.Equal(t, "a+gate%3Away", user, "RFC 6749 encodes the client's credentials as a form")
	require.Equal(t, "%C3%BC%26%2B", password)
	require.Equal(t, "yes", extra)
}

func TestInactiveIsADenial(t *testing.T) {
	claims, err := ask(t, says(`{"active":false,"exp":1}`), authhttp.Provider{}, "t")
	require.True(t, authhttp.Denied(err))
	require.ErrorIs(t, err, authhttp.ErrDenied)
	require.Zero(t, claims)
}

func TestTheEmptyTokenIsDeniedWithoutAsking(t *testing.T) {
	_, err := ask(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }, authhttp.Provider{}, "")
	require.True(t, authhttp.Denied(err))
}

func TestClaims(t *testing.T) {
	body := `{"active":true,"sub":"7","username":"ada","client_id":"app","token_type":"Bearer","iss":"idp","jti":"id",
		"scope":"read write","aud":["a","b"],"exp":4102444800.5,"iat":1700000000,"nbf":"1700000001","org":"x"}`
	c, err := ask(t, says(body), authhttp.Provider{}, "t")
	require.NoError(t, err)
	require.JSONEq(t, body, string(c.Raw))
	c.Raw = nil
	require.Equal(t, authhttp.Claims{
		Subject: "7", Username: "ada", ClientID: "app", TokenType: "Bearer", Issuer: "idp", ID: "id",
		Scopes: []string{"read", "write"}, Audience: []string{"a", "b"},
		Expires: time.Unix(4102444800, 5e8), IssuedAt: time.Unix(1700000000, 0), NotBefore: time.Unix(1700000001, 0),
	}, c)
	require.Equal(t, c.Expires, authhttp.Expires(c))
}

// An exp that is absent or 0 is no end: a cache that took it for 1970 would store nothing.
func TestNoExpiry(t *testing.T) {
	for _, exp := range []string{``, `,"exp":0`, `,"exp":null`, `,"exp":-5`, `,"exp":"0"`} {
		c, err := ask(t, says(`{"active":true,"aud":"one"`+exp+`}`), authhttp.Provider{}, "t")
		require.NoError(t, err, exp)
		require.True(t, c.Expires.IsZero(), exp)
		require.Equal(t, []string{"one"}, c.Audience)
	}
	c, err := ask(t, says(`{"active":true,"exp":1e300}`), authhttp.Provider{}, "t")
	require.NoError(t, err)
	require.True(t, c.Expires.After(time.Now()), "the far future overflows nothing: %v", c.Expires)
}

func TestWhatIsNoVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		status   int
		kind     string
		body     string
		contains string
	}{
		"refuses us":       {401, "application/json", `{"active":false}`, "refuses our client credentials"},
		"forbids us":       {403, "application/json", `{"active":false}`, "refuses our client credentials"},
		"redirects":        {302, "application/json", `{"active":true}`, "redirects"},
		"keeps the method": {307, "application/json", `{"active":true}`, "redirects"},
		"is down":          {500, "application/json", `{"active":false}`, "status 500"},
		"has moved":        {404, "text/html", "", "status 404"},
		"is busy":          {503, "", "", "status 503"},
		"sends HTML":       {200, "text/html", "<html>log in</html>", `"text/html"`},
		"sends nothing":    {200, "application/json", "", "no introspection response"},
		"sends a list":     {200, "application/json", "[]", "no introspection response"},
		"sends no active":  {200, "application/json", `{"sub":"7"}`, `"active"`},
		"sends null":       {200, "application/json", `{"active":null}`, `"active"`},
		"sends a word":     {200, "application/json", `{"active":"true"}`, "no introspection response"},
		"is cut":           {200, "application/json", `{"active":tr`, "no introspection response"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			_, err := ask(t, func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Location", "/elsewhere")
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}, authhttp.Provider{}, "secret-token")
			failed := requireNoVerdict(t, err)
			require.ErrorContains(t, err, c.contains)
			require.Equal(t, c.status, failed.Status)
			require.Equal(t, 1, asked, "a redirect was followed")
			if c.status != http.StatusOK {
				require.Equal(t, 7*time.Second, failed.RetryAfter())
			}
		})
	}
}

func TestALongAnswerIsCut(t *testing.T) {
	sent := int64(0) // 2 GiB are no int of 32 bits
	_, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for chunk := strings.Repeat(" ", 32<<10); sent < 2<<30; sent += int64(len(chunk)) {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}, authhttp.Provider{}, "secret-token")
	requireNoVerdict(t, err)
	require.ErrorContains(t, err, "longer than 65536 bytes")
	require.Less(t, sent, int64(64<<20), "2 GB were read")

	long := `{"active":true` + strings.Repeat(" ", 1000) + `}`
	_, err = ask(t, says(long), authhttp.Provider{MaxBytes: int64(len(long)) - 1}, "t")
	requireNoVerdict(t, err)
	for _, most := range []int64{int64(len(long)), -1} {
		_, err = ask(t, says(long), authhttp.Provider{MaxBytes: most}, "t")
		require.NoError(t, err)
	}
}

func TestASlowAnswerIsCut(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil { // one byte after the other, for ever
			io.WriteString(w, " ")
			w.(http.Flusher).Flush()
		}
	}
	_, err := ask(t, slow, authhttp.Provider{Timeout: 20 * time.Millisecond, MaxBytes: -1}, "secret-token")
	requireNoVerdict(t, err)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestBadURLs(t *testing.T) {
	for _, u := range []string{"", "idp.example.com/introspect", "/introspect", "ftp://idp/x", "http://", "http://idp:port/\x00", "://"} {
		_, err := authhttp.Introspect(authhttp.Provider{URL: u})(t.Context(), "secret-token")
		requireNoVerdict(t, err)
		require.ErrorContains(t, err, "Provider.URL", u)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = authhttp.Introspect(authhttp.Provider{URL: fmt.Sprintf("http://user:password@%s/introspect?hidden=1", l.Addr())})(t.Context(), "secret-token")
	failed := requireNoVerdict(t, err)
	require.NotContains(t, err.Error(), "password")
	require.Zero(t, failed.Status)
	require.Zero(t, failed.RetryAfter())
}

func TestAuthorizeFails(t *testing.T) {
	_, err := ask(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") },
		authhttp.Provider{Authorize: func(*http.Request) error { return io.ErrUnexpectedEOF }}, "secret-token")
	requireNoVerdict(t, err)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func FuzzIntrospect(f *testing.F) {
	for _, body := range []string{`{"active":true,"exp":1,"aud":"x","scope":"a b"}`, `{"active":false}`, `{"active":true,"aud":[1]}`, `{"active":true,"scope":["a","b c"],"exp":"x"}`, "", "null"} {
		f.Add(body, uint16(200))
	}
	f.Fuzz(func(t *testing.T, body string, status uint16) {
		ask := authhttp.Introspect(authhttp.Provider{URL: "http://idp", Client: &http.Client{Transport: answer{body, int(status)}}})
		c, err := ask(t.Context(), "t")
		var failed *authhttp.ProviderError
		denied := authhttp.Denied(err)
		if err != nil && !denied && !asProviderError(err, &failed) || err == nil && (status != 200 || len(c.Raw) == 0) {
			t.Fatalf("%d %q: %+v, %v", status, body, c, err)
		}
	})
}

func asProviderError(err error, target **authhttp.ProviderError) bool {
	failed, ok := err.(*authhttp.ProviderError)
	*target = failed
	return ok
}

// An answer is a transport that gives it.
type answer struct {
	body   string
	status int
}

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, nil
}
