package transport_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// read gets an answer and reads it to its end, in buf.
func read(t testing.TB, rt http.RoundTripper, req *http.Request, buf []byte) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = resp.Body.Read(buf)
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// unread gets an answer and closes it.
func unread(t testing.TB, rt http.RoundTripper, req *http.Request, _ []byte) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// A getter is read or unread.
type getter func(testing.TB, http.RoundTripper, *http.Request, []byte)

// allocs counts those of a request.
func allocs(t testing.TB, rt http.RoundTripper, req *http.Request, get getter) float64 {
	t.Helper()
	buf := make([]byte, 512)
	return testing.AllocsPerRun(300, func() { get(t, rt, req, buf) })
}

// most is how many allocations a request through Reuse may cost more than one without.
const most = 5

// A body that Close reads costs no more than one that its caller reads.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	fake := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ContentLength: 3, Body: io.NopCloser(strings.NewReader("abc"))}, nil
	})
	srv := transporttest.NewServer(t, payload)
	for name, base := range map[string]http.RoundTripper{"fake": fake, "loopback": base(t, srv, 1)} {
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			req := newRequest(t, srv.URL+"/?n=300").WithContext(ctx)
			bare := allocs(t, base, req, read)
			r := &transport.Reuse{Base: base}
			withRead, withUnread := allocs(t, r, req, read), allocs(t, r, req, unread)
			t.Logf("%s: %v; with Reuse %v, unread %v", name, bare, withRead, withUnread)
			require.LessOrEqual(t, withRead, bare+most, name)
			require.LessOrEqual(t, withUnread, bare+most, name)
		}
	}
}
