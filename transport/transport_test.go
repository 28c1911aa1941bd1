package transport_test

import (
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
)

func TestNewSizes(t *testing.T) {
	for n, want := range map[int][2]int{
		math.MinInt: {1, 100},
		-1:          {1, 100},
		0:           {1, 100},
		1:           {1, 100},
		50:          {50, 100},
		51:          {51, 102},
		1000:        {1000, 2000},
		math.MaxInt: {math.MaxInt / 2, math.MaxInt - 1},
	} {
		tr := transport.New(n)
		require.Equal(t, want, [2]int{tr.MaxIdleConnsPerHost, tr.MaxIdleConns}, n)
	}
}

func TestNewPresets(t *testing.T) {
	tr := transport.New(10)
	require.Zero(t, tr.MaxConnsPerHost)
	require.False(t, tr.DisableKeepAlives)
	require.True(t, tr.ForceAttemptHTTP2)
	require.Equal(t, 90*time.Second, tr.IdleConnTimeout)
	require.Equal(t, 10*time.Second, tr.TLSHandshakeTimeout)
	require.Equal(t, time.Second, tr.ExpectContinueTimeout)
	require.Equal(t, 30*time.Second, tr.HTTP2.SendPingTimeout)
	require.Equal(t, 15*time.Second, tr.HTTP2.PingTimeout)
	require.NotNil(t, tr.Proxy)
	require.NotSame(t, tr, transport.New(10))
}

// What a program does to http.DefaultTransport is its own affair.
func TestNewIsNotDefaultTransport(t *testing.T) {
	old := http.DefaultTransport
	defer func() { http.DefaultTransport = old }()
	http.DefaultTransport = roundTrip(nil)
	require.NotNil(t, transport.New(1))
}

func TestTransientKeepsNothing(t *testing.T) {
	for name, start := range protocols {
		t.Run(name, func(t *testing.T) {
			srv := start(t, payload)
			tr := transport.Transient()
			tr.TLSClientConfig = base(t, srv, 1).TLSClientConfig
			for range 5 {
				readAll(t, tr, srv.URL+"/?n=10")
			}
			require.Equal(t, 5, srv.Conns())
		})
	}
}

// Draining and the number of idle connections are both needed: with Go's two, 64
// requests in flight keep opening connections even if every body is drained.
func TestConcurrencyNeedsBoth(t *testing.T) {
	for _, name := range []string{"HTTP1", "TLS"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var together sync.WaitGroup
			srv := protocols[name](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/together" {
					together.Done()
					together.Wait()
				}
				payload(w, r)
			}))
			burst := func(rt http.RoundTripper) (conns int) {
				before := srv.Conns()
				together.Add(64) // each needs its own
				concurrently(64, 64, func() { closeUnread(t, rt, srv.URL+"/together?n=1000") })
				return srv.Conns() - before
			}
			few := &transport.Reuse{Base: base(t, srv, 2), DrainTime: time.Minute}
			require.Equal(t, 64, burst(few))
			require.GreaterOrEqual(t, burst(few), 62, "two were kept")

			enough := &transport.Reuse{Base: base(t, srv, 100), DrainTime: time.Minute}
			require.Equal(t, 64, burst(enough))
			require.LessOrEqual(t, burst(enough), 20)
			warm := 0
			for range 5 { // a busy machine may hold up a connection on its way back
				before := srv.Conns()
				concurrently(64, 1000, func() { closeUnread(t, enough, srv.URL+"/?n=1000") })
				if warm = srv.Conns() - before; warm <= 20 {
					break
				}
			}
			t.Logf("%d connections for 1000 warm requests", warm)
			require.LessOrEqual(t, warm, 20)
		})
	}
}

// concurrently calls f n times on so many goroutines.
func concurrently(workers, n int, f func()) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range (n + w) / workers {
				f()
			}
		})
	}
	wg.Wait()
}
