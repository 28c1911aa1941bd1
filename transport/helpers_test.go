package transport_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// long makes experiments as long as they should be, rather than as short as they
// can be: CONNHYGIENE_LONG=1 go test ./transport
var long = os.Getenv("CONNHYGIENE_LONG") != ""

// protocols are the servers that a rule must hold on.
var protocols = map[string]func(testing.TB, http.Handler) *transporttest.Server{
	"HTTP1": transporttest.NewServer,
	"TLS":   transporttest.NewTLSServer,
	"HTTP2": transporttest.NewHTTP2Server,
}

// payload answers as the query says: n bytes, "chunked" without their length, and
// then "stall" until the client leaves, or "endless".
var payload = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, _ := strconv.Atoi(q.Get("n"))
	switch {
	case q.Has("chunked"):
		_ = http.NewResponseController(w).Flush()
	case q.Has("stall"):
		w.Header().Set("Content-Length", strconv.Itoa(n+1))
	default:
		w.Header().Set("Content-Length", strconv.Itoa(n))
	}
	_, _ = w.Write(make([]byte, n))
	if q.Has("stall") {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or the client may see a proper end
	}
	for q.Has("endless") {
		if _, err := w.Write(make([]byte, 32<<10)); err != nil {
			return
		}
	}
})

// base returns New(n) that reaches srv; it closes with the test.
func base(t testing.TB, srv *transporttest.Server, n int) *http.Transport {
	t.Helper()
	tr := transport.New(n)
	theirs := srv.Client().Transport.(*http.Transport)
	tr.DialContext = theirs.DialContext
	if theirs.TLSClientConfig != nil {
		tr.TLSClientConfig = &tls.Config{RootCAs: theirs.TLSClientConfig.RootCAs}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// patient returns a Reuse whose Close has time on a busy machine. It is for tests
// of what is kept, not of when Close gives up.
func patient(t testing.TB, srv *transporttest.Server) *transport.Reuse {
	return &transport.Reuse{Base: base(t, srv, 1), DrainTime: time.Minute}
}

func get(t testing.TB, rt http.RoundTripper, url string) *http.Response {
	t.Helper()
	resp, err := (&http.Client{Transport: rt}).Get(url)
	require.NoError(t, err)
	return resp
}

// closeUnread gets url and closes the body without reading it.
func closeUnread(t testing.TB, rt http.RoundTripper, url string) {
	t.Helper()
	require.NoError(t, get(t, rt, url).Body.Close())
}

func readAll(t testing.TB, rt http.RoundTripper, url string) string {
	t.Helper()
	resp := get(t, rt, url)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return string(body)
}

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}
