package transport_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// On real sockets, as long as the machine finds time for a handshake within 300ms.
func TestColdStartOpensOne(t *testing.T) {
	conns := 0
	for range 5 {
		srv := transporttest.NewHTTP2Server(t, payload)
		r := &transport.Reuse{Base: base(t, srv, 100), ColdStart: true}
		concurrently(64, 64, func() { readAll(t, r, srv.URL+"/?n=10") })
		if conns = srv.Conns(); conns == 1 {
			return
		}
	}
	t.Errorf("%d connections, 5 times", conns)
}

// When the connection went while nobody looked, one is opened again.
func TestColdStartAgain(t *testing.T) {
	srv := transporttest.NewHTTP2Server(t, payload)
	r := &transport.Reuse{Base: base(t, srv, 100), ColdStart: true}
	for srv.Conns() < 3 {
		concurrently(8, 8, func() { readAll(t, r, srv.URL+"/?n=10") })
		r.CloseIdleConnections() // one with a stream that is just ending is not idle
	}
	require.Zero(t, r.Stats().Failed)
}

// slowDial is a Base whose connections take a while, or fail. It dials once for
// all requests that it has when it is done.
func slowDial(srv *transporttest.Server, t *testing.T, after time.Duration, result error) *http.Transport {
	tr := base(t, srv, 100)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if result != nil {
			return nil, result
		}
		return dial(ctx, network, addr)
	}
	return tr
}

func TestColdStartWaits(t *testing.T) {
	refused := errors.New("refused")
	for _, c := range []struct {
		name  string
		after time.Duration
		fails error
		want  time.Duration // until the last is back
	}{
		// The first dials, then the others pass, which take turns on its connection.
		{"dial", 100 * time.Millisecond, nil, 100 * time.Millisecond},
		// Released at once by that failure, then their own.
		{"failure", 100 * time.Millisecond, refused, 200 * time.Millisecond},
		// Released after 300ms by themselves.
		{"hang", time.Hour, refused, time.Hour + 300*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := transporttest.NewPipeServer(t, payload)
				r := &transport.Reuse{Base: slowDial(srv, t, c.after, c.fails), ColdStart: true}
				start := time.Now()
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						resp, err := r.RoundTrip(newRequest(t, srv.URL))
						if c.fails != nil {
							require.ErrorIs(t, err, c.fails)
							return
						}
						require.NoError(t, err)
						require.NoError(t, resp.Body.Close())
					})
				}
				wg.Wait()
				require.Equal(t, c.want, time.Since(start))
				require.EqualValues(t, 7, r.Stats().Waited)
			})
		})
	}
}

func TestColdStartHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: slowDial(srv, t, time.Second, nil), ColdStart: true}
		var wg sync.WaitGroup
		wg.Go(func() { readAll(t, r, srv.URL) })
		synctest.Wait()

		cause := errors.New("no longer interested")
		ctx, cancel := context.WithCancelCause(t.Context())
		body := &closer{Reader: http.NoBody}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, body)
		require.NoError(t, err)
		start := time.Now()
		time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
		_, err = r.RoundTrip(req) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, cause)
		require.Equal(t, 10*time.Millisecond, time.Since(start))
		require.Equal(t, 1, body.closed)

		late := &transport.Reuse{Base: r, Timeout: 20 * time.Millisecond}
		_, err = late.RoundTrip(newRequest(t, srv.URL)) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.DeadlineExceeded)
		wg.Wait()
		srv.WantConns(1)
	})
}

// Timeout covers waiting.
func TestColdStartWithinTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: slowDial(srv, t, time.Second, nil), ColdStart: true, Timeout: 200 * time.Millisecond}
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, err := r.RoundTrip(newRequest(t, srv.URL)) //nolint:bodyclose // there is none
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		wg.Wait()
		require.Equal(t, 200*time.Millisecond, time.Since(start))
	})
}

// Once a host is known to speak HTTP/1, where each needs a connection, nobody waits.
func TestColdStartLetsHTTP1Pass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }))
		r := &transport.Reuse{Base: slowDial(srv, t, 100*time.Millisecond, nil), ColdStart: true}
		readAll(t, r, srv.URL)
		start := time.Now()
		concurrently(8, 8, func() { readAll(t, r, srv.URL) })
		require.Equal(t, 1100*time.Millisecond, time.Since(start))
		require.Zero(t, r.Stats().Waited)
	})
}

// Hosts do not wait for each other.
// A Base that panics leaves no request behind for which others wait.
func TestColdStartSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &transport.Reuse{ColdStart: true, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/panic" {
				panic("base")
			}
			return &http.Response{ProtoMajor: 2, Body: http.NoBody}, nil
		})}
		send := func(path string) {
			_, err := r.RoundTrip(&http.Request{URL: &url.URL{Scheme: "https", Host: "h", Path: path}})
			require.NoError(t, err)
		}
		send("/")
		from := time.Now()
		require.PanicsWithValue(t, "base", func() { send("/panic") })
		send("/")
		require.Zero(t, time.Since(from))
	})
}

func TestColdStartIsPerHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: slowDial(srv, t, 100*time.Millisecond, nil), ColdStart: true}
		start := time.Now()
		var wg sync.WaitGroup
		for _, host := range []string{"http://a.test", "http://b.test", "http://c.test"} {
			wg.Go(func() { readAll(t, r, host) })
		}
		wg.Wait()
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.Zero(t, r.Stats().Waited)
	})
}
