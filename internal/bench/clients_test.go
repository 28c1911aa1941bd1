package bench_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// A client is a transport and what its user does with a body that is not needed.
type client struct {
	name    string
	new     func(*tls.Config) http.RoundTripper
	discard func(io.ReadCloser) error
}

func closeUnread(body io.ReadCloser) error { return body.Close() }

func drainByHand(body io.ReadCloser) error {
	_, _ = io.Copy(io.Discard, body)
	return body.Close()
}

// pool is transport.New alone, for what the wrapper costs and what the pool does.
func pool(c *tls.Config) http.RoundTripper {
	t := transport.New(100)
	t.TLSClientConfig = c
	return t
}

var clients = []client{
	{"ours", func(c *tls.Config) http.RoundTripper {
		return &transport.Reuse{Base: pool(c), ColdStart: true}
	}, closeUnread},
	{"bare", func(c *tls.Config) http.RoundTripper {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = c
		return t
	}, closeUnread},
	{"cleanhttp", func(c *tls.Config) http.RoundTripper {
		t := cleanhttp.DefaultPooledTransport()
		t.TLSClientConfig = c
		return t
	}, closeUnread},
	{"hand", func(c *tls.Config) http.RoundTripper { // Go's transport, drained
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = c
		return t
	}, drainByHand},
	{"hand-pool", pool, drainByHand}, // our pool without the wrapper, drained
}

// serve answers with n bytes, ?n=, of a known length or not, ?chunked=1; with
// ?stall=1 the last byte never comes.
func serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, _ := strconv.Atoi(q.Get("n"))
	if q.Get("chunked") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(n))
	}
	body := payload[:n]
	if q.Get("stall") != "" {
		_, _ = w.Write(body[:n-1])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	for half := range 2 { // so that what is chunked is not sent as one piece
		_, _ = w.Write(body[half*n/2 : (half+1)*n/2])
		if q.Get("chunked") != "" {
			_ = http.NewResponseController(w).Flush()
		}
	}
}

var payload = make([]byte, 1<<20)

// once sends one request, gets rid of its body, and returns how long that took.
func once(rt http.RoundTripper, url string, discard func(io.ReadCloser) error) (time.Duration, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	_ = discard(resp.Body)
	return time.Since(began), nil
}

// BenchmarkRequest is a request over the loopback interface whose answer has 4 KiB.
// Nobody reads the body when it is unread: hand drains it, ours does so in Close.
func BenchmarkRequest(b *testing.B) {
	for _, body := range []string{"read", "unread"} {
		for _, workers := range []int{1, 64} {
			for _, c := range turned(clients) {
				b.Run(fmt.Sprintf("body=%s/conc=%d/lib=%s", body, workers, c.name), func(b *testing.B) {
					discard := c.discard
					if body == "read" {
						discard = drainByHand
					}
					benchmarkRequests(b, c.new(nil), workers, discard)
				})
			}
		}
	}
}

func benchmarkRequests(b *testing.B, rt http.RoundTripper, workers int, discard func(io.ReadCloser) error) {
	srv := transporttest.NewServer(b, http.HandlerFunc(serve))
	defer srv.Close()
	defer rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	url := srv.URL + "/?n=4096"
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := once(rt, url, discard); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(1000*float64(srv.Conns())/float64(b.N), "conns/1000")
}

// connections returns how many connections n requests took, per 1000.
func connections(t *testing.T, c client, query string, n, workers int) float64 {
	t.Helper()
	srv := transporttest.NewServer(t, http.HandlerFunc(serve))
	defer srv.Close()
	rt := c.new(nil)
	defer rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	requests(t, workers, n/workers, func() error {
		_, err := once(rt, srv.URL+query, c.discard)
		return err
	})
	return 1000 * float64(srv.Conns()) / float64(n/workers*workers)
}

// requests calls send each times on each of workers goroutines.
func requests(t *testing.T, workers, each int, send func() error) {
	t.Helper()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				if err := send(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// How many connections 1000 requests take when nobody needs the bodies.
func TestConnectionsUnread(t *testing.T) {
	n := 400
	if full() {
		n = 2000
	}
	tab := newTable("connections", "", "1 KiB", "64 KiB", "64 KiB, chunked", "256 KiB", "1 MiB", "4 KiB, 64 at once")
	for _, c := range clients {
		row := []any{c.name}
		for _, query := range []string{"/?n=1024", "/?n=65536", "/?n=65536&chunked=1", "/?n=262144"} {
			conns := connections(t, c, query, n, 1)
			row = append(row, fmt.Sprintf("%.0f", conns))
			if c.name == "ours" {
				require.LessOrEqual(t, conns, 50.0, query) // 2 or 5, but for drains that a busy machine interrupts
			}
		}
		row = append(row, fmt.Sprintf("%.0f", connections(t, c, "/?n=1048576", n, 1)))
		row = append(row, fmt.Sprintf("%.0f", connections(t, c, "/?n=4096", 10*n, 64)))
		tab.add(row...)
	}
	tab.show(t)
}

// How long Close blocks on a body whose end does not come, and how many connections
// an HTTP/2 server gets from 64 first requests.
func TestStalledBodyAndColdBurst(t *testing.T) {
	tab := newTable("cold", "", "getting rid of a body that stalls", "connections for 64 first requests over HTTP/2")
	for _, c := range clients {
		took, burst := stalled(t, c), coldBurst(t, c)
		blocked := "never returns"
		if took < patience*9/10 { // the server is closed after that
			blocked = took.Round(time.Millisecond).String()
		}
		tab.add(c.name, blocked, burst)
		if c.name == "ours" {
			require.Less(t, took, patience*9/10)
			require.Less(t, burst, 32) // 1, but after 300ms nobody waits any more
		}
	}
	tab.show(t)
}

// patience is after how much time a Close counts as one that hangs.
const patience = time.Second

func stalled(t *testing.T, c client) time.Duration {
	t.Helper()
	srv := transporttest.NewServer(t, http.HandlerFunc(serve))
	defer srv.Close()
	rt := c.new(nil)
	defer rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	release := time.AfterFunc(patience, srv.Close)
	defer release.Stop()
	took, err := once(rt, srv.URL+"/?n=4096&stall=1", c.discard)
	require.NoError(t, err)
	return took
}

func coldBurst(t *testing.T, c client) int {
	t.Helper()
	srv := transporttest.NewHTTP2Server(t, http.HandlerFunc(serve))
	defer srv.Close()
	rt := c.new(srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone())
	defer rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	requests(t, 64, 1, func() error {
		_, err := once(rt, srv.URL+"/?n=1024", c.discard)
		return err
	})
	return srv.Conns()
}
