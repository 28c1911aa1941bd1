package transport_test

import (
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// leak gets bodies and forgets them.
//
//go:noinline
func leak(t testing.TB, rt http.RoundTripper, url string, n int) {
	for range n {
		resp, err := rt.RoundTrip(newRequest(t, url)) //nolint:bodyclose // on purpose
		require.NoError(t, err)
		_, err = resp.Body.Read(make([]byte, 1))
		require.NoError(t, err)
	}
}

func TestLeaksAreReportedAndHealed(t *testing.T) {
	for name, start := range protocols {
		for _, query := range []string{"n=500", "n=5000&chunked", "n=300000"} {
			t.Run(name+"/"+query, func(t *testing.T) {
				srv := start(t, payload)
				leaks := make(chan transport.Leak, 1000)
				r := &transport.Reuse{Base: base(t, srv, 10), OnLeak: func(l transport.Leak) { leaks <- l }}
				before := runtime.NumGoroutine()
				leak(t, r, srv.URL+"/?"+query, 50)
				for range 100 {
					runtime.GC()
					if r.Stats().Leaked >= 48 {
						break
					}
					waitFor(t, leaks)
				}
				require.GreaterOrEqual(t, r.Stats().Leaked, uint64(48), "of 50: the last may still be on a stack")
				l := <-leaks
				require.Equal(t, http.MethodGet, l.Method)
				require.Equal(t, srv.URL+"/?"+query, l.URL)
				require.Regexp(t, `^github.com/connhygiene/connhygiene/transport_test.leak\n\t.*leak_test.go:\d+\n`, string(l.Stack))
				r.CloseIdleConnections()
				require.Eventually(t, func() bool {
					runtime.GC()
					r.CloseIdleConnections()
					return runtime.NumGoroutine() <= before+3*5 // two that are still held, client and server
				}, 20*time.Second, 5*time.Millisecond)
			})
		}
	}
}

// waitFor waits a moment for a leak, which it puts back.
func waitFor(t testing.TB, leaks chan transport.Leak) {
	t.Helper()
	select {
	case l := <-leaks:
		leaks <- l
		runtime.Gosched()
	case <-time.After(20 * time.Millisecond):
	}
}

// Read to the end, or closed, nothing is leaked.
func TestNoLeakNoReport(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	var leaks atomic.Int64
	r := &transport.Reuse{Base: base(t, srv, 1), OnLeak: func(transport.Leak) { leaks.Add(1) }}
	for range 20 {
		closeUnread(t, r, srv.URL+"/?n=500")
		resp := get(t, r, srv.URL+"/?n=500") //nolint:bodyclose // the end is enough
		_, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		readAll(t, r, srv.URL+"/?n=0")
	}
	for range 3 {
		runtime.GC()
	}
	require.Zero(t, leaks.Load())
	require.Zero(t, r.Stats().Leaked)
	srv.WantConns(1)
}

// The answer is a copy, whose trailer is filled like the original's.
func TestLeakWatchKeepsTrailers(t *testing.T) {
	for name, start := range protocols {
		t.Run(name, func(t *testing.T) {
			srv := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "body")
				_ = http.NewResponseController(w).Flush()
				w.Header().Set(http.TrailerPrefix+"Sum", "42") // not announced
			}))
			r := &transport.Reuse{Base: base(t, srv, 1), OnLeak: func(transport.Leak) {}}
			resp := get(t, r, srv.URL)
			_, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.Equal(t, "42", resp.Trailer.Get("Sum"))
			require.NoError(t, resp.Body.Close())
			require.NoError(t, transport.DrainClose(resp.Body))
		})
	}
}
