package transport_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

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

// A body that Close reads costs no more than one that its caller reads: a request
// through Reuse is one allocation more than one without.
func TestOneAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	fake := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ProtoMajor: 1, ContentLength: 3, Body: io.NopCloser(strings.NewReader("abc"))}, nil
	})
	srv := transporttest.NewServer(t, payload)
	for name, base := range map[string]http.RoundTripper{"fake": fake, "loopback": base(t, srv, 1)} {
		req := newRequest(t, srv.URL+"/?n=300")
		bare := allocs(t, base, req, read)
		for _, cold := range []bool{false, true} {
			r := &transport.Reuse{Base: base, ColdStart: cold}
			withRead, withUnread := allocs(t, r, req, read), allocs(t, r, req, unread)
			t.Logf("%s: %v; with Reuse %v, unread %v", name, bare, withRead, withUnread)
			require.LessOrEqual(t, withRead, bare+1, name)
			require.LessOrEqual(t, withUnread, bare+1, name)
		}
	}
	req := newRequest(t, srv.URL).WithContext(t.Context())
	require.LessOrEqual(t, allocs(t, &transport.Reuse{Base: fake}, req, read), allocs(t, fake, req, read)+1)
}

// A request whose context can end costs no more if that context comes again, as in
// an agent's loop, and two allocations more, a link, if each request has its own.
func TestAllocationsOfContexts(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	srv := transporttest.NewServer(t, payload)
	rt := base(t, srv, 1)
	r := &transport.Reuse{Base: rt}
	req := newRequest(t, srv.URL+"/?n=300")
	same := req.WithContext(t.Context())
	buf := make([]byte, 512)
	fresh := func(rt http.RoundTripper) float64 {
		return testing.AllocsPerRun(300, func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			read(t, rt, req.WithContext(ctx), buf)
			cancel()
		})
	}
	again, bare := allocs(t, r, same, read), allocs(t, rt, same, read)
	one, oneBare := fresh(r), fresh(rt)
	t.Logf("the same: %v, bare %v; a new one each: %v, bare %v", again, bare, one, oneBare)
	require.LessOrEqual(t, again, bare+1)
	require.LessOrEqual(t, one, oneBare+3)
}
