package transport_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// together answers each n requests at once when all of them are there, or after ?wait
// where the query has it.
func together(n int) http.Handler {
	var mu sync.Mutex
	here, all := 0, make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
			payload(w, r)
			return
		}
		mu.Lock()
		mine := all
		if here++; here == n {
			close(all)
			here, all = 0, make(chan struct{})
		}
		mu.Unlock()
		select {
		case <-mine:
		case <-r.Context().Done():
		}
		payload(w, r)
	})
}

// warm opens n connections, which are idle when it returns.
func warm(t *testing.T, rt http.RoundTripper, url string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { readAll(t, rt, url+"/?n=10") })
	}
	wg.Wait()
}

// try sends a request and reads the answer, within limit.
func try(rt http.RoundTripper, url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// Whatever ends the first request, it is the only one that fails.
func TestSilentDeathCostsOneRequest(t *testing.T) {
	const n = 16
	limits := map[string]func(*transport.Reuse, *http.Transport) *http.Client{
		"Timeout": func(r *transport.Reuse, _ *http.Transport) *http.Client {
			r.Timeout = 3 * time.Second
			return &http.Client{Transport: r}
		},
		"Silence": func(r *transport.Reuse, _ *http.Transport) *http.Client {
			r.Silence = 3 * time.Second
			return &http.Client{Transport: r}
		},
		"Client.Timeout": func(r *transport.Reuse, _ *http.Transport) *http.Client {
			return &http.Client{Transport: r, Timeout: 3 * time.Second}
		},
		"ResponseHeaderTimeout": func(r *transport.Reuse, base *http.Transport) *http.Client {
			base.ResponseHeaderTimeout = 3 * time.Second
			return &http.Client{Transport: r}
		},
		"any Base": func(r *transport.Reuse, base *http.Transport) *http.Client {
			r.Base, r.Timeout = roundTrip(base.RoundTrip), 3*time.Second
			return &http.Client{Transport: r}
		},
		"with all else": func(r *transport.Reuse, _ *http.Transport) *http.Client {
			r.Timeout, r.ColdStart, r.MaxConnAge = 3*time.Second, true, time.Hour
			return &http.Client{Transport: r}
		},
	}
	for name, limit := range limits {
		for protocol := range map[string]bool{"pipe": true, "HTTP1": true, "HTTP2": true} {
			if protocol != "pipe" && name != "Timeout" && name != "any Base" && name != "with all else" {
				continue
			}
			t.Run(name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				if protocol != "pipe" {
					silentDeath(t, protocols[protocol](t, together(n)), limit)
					return
				}
				synctest.Test(t, func(t *testing.T) {
					srv := transporttest.NewPipeServer(t, together(n))
					start := time.Now()
					silentDeath(t, srv, limit)
					require.Equal(t, 3*time.Second, time.Since(start))
				})
			})
		}
	}
}

func silentDeath(t *testing.T, srv *transporttest.Server, limit func(*transport.Reuse, *http.Transport) *http.Client) {
	const n = 16
	tr := base(t, srv, n)
	r := &transport.Reuse{Base: tr}
	client := limit(r, tr)
	warm(t, client.Transport, srv.URL, n)
	srv.Vanish()
	for i := range 5 {
		resp, err := client.Get(srv.URL + "/?n=10&wait=0s")
		if i == 0 {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.EqualValues(t, 1, r.Stats().Failed)
	require.Positive(t, r.Stats().Dropped)
}

// An upload that cannot be sent twice is sent once, on the connection that is used.
func TestUploadsSurviveASilentDeath(t *testing.T) {
	for _, protocol := range []string{"HTTP1", "HTTP2"} {
		t.Run(protocol, func(t *testing.T) {
			var posts atomic.Int32
			all := together(4)
			srv := protocols[protocol](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					posts.Add(1)
					_, _ = io.Copy(w, r.Body)
					return
				}
				all.ServeHTTP(w, r)
			}))
			r := &transport.Reuse{Base: base(t, srv, 4)}
			warm(t, r, srv.URL, 4)
			srv.Vanish()
			require.ErrorIs(t, try(r, srv.URL+"/?n=10", 300*time.Millisecond), context.DeadlineExceeded)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, io.MultiReader(strings.NewReader("once")))
			require.NoError(t, err)
			require.Nil(t, req.GetBody)
			resp, err := r.RoundTrip(req)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, "once", string(body))
			require.EqualValues(t, 1, posts.Load())
		})
	}
}

// Other hosts are left alone.
func TestSilentDeathOfOneOfTwoHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, alive := transporttest.NewPipeServer(t, together(8)), transporttest.NewPipeServer(t, together(8))
		tr := transport.New(8)
		defer tr.CloseIdleConnections()
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			srv := alive
			if addr == "dead.test:80" {
				srv = dead
			}
			return srv.Client().Transport.(*http.Transport).DialContext(ctx, network, addr)
		}
		r := &transport.Reuse{Base: tr}
		warm(t, r, "http://alive.test", 8)
		warm(t, r, "http://dead.test", 8)
		dead.Vanish()
		require.Error(t, try(r, "http://dead.test/?n=10&wait=0s", time.Second))
		require.NoError(t, try(r, "http://dead.test/?n=10&wait=0s", time.Second))
		warm(t, r, "http://alive.test", 8)
		require.Equal(t, 8, alive.Conns())
		for name, s := range r.Hosts() {
			require.Equal(t, name == "dead.test", s.Dropped > 0, name)
		}
	})
}

// A host that dies again and again costs a redial of its connections once a second.
func TestRedialAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, together(8))
		r := &transport.Reuse{Base: base(t, srv, 8)}
		start := time.Now()
		for time.Since(start) < time.Minute {
			warm(t, r, srv.URL, 8)
			// Slow, and so long that nothing is heard meanwhile.
			require.Error(t, try(r, srv.URL+"/?wait=1h", 100*time.Millisecond))
		}
		s := r.Stats()
		require.LessOrEqual(t, s.Dropped, uint64(7*60))
		require.Greater(t, s.Dropped, uint64(7*50))
	})
}

// A connection that net/http dialed for nobody, because another became free first, is as
// suspect as those that were used.
func TestSilentDeathOfAnUnusedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, together(1))
		r := &transport.Reuse{Base: slowDial(srv, t, 100*time.Millisecond, nil)}
		var wg sync.WaitGroup
		for i := range 4 { // two dial for themselves; the others find their connections, and leave two
			wg.Go(func() {
				time.Sleep(time.Duration(i/2) * 90 * time.Millisecond)
				require.NoError(t, try(r, srv.URL+"/?n=10&wait=1ms", time.Second))
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		require.Equal(t, 4, srv.Conns())
		require.EqualValues(t, 2, r.Stats().Dialed)
		srv.Vanish()
		require.Error(t, try(r, srv.URL+"/?n=10&wait=1ms", time.Second))
		require.NoError(t, try(r, srv.URL+"/?n=10&wait=1ms", time.Second))
		require.EqualValues(t, 3, r.Stats().Dropped)
	})
}

// Streams that go on over a connection which may be dead are left alone. It gets one
// more request, which may be the one more failure, and is not used again.
func TestStreamsOutliveASuspicion(t *testing.T) {
	more := make(chan struct{})
	srv := transporttest.NewHTTP2Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			_ = http.NewResponseController(w).Flush()
			<-more
			_, _ = io.WriteString(w, "still there")
		case "/hang":
			<-r.Context().Done()
		}
	}))
	r := &transport.Reuse{Base: base(t, srv, 1)}
	stream := get(t, r, srv.URL+"/stream")
	require.Error(t, try(r, srv.URL+"/hang", 100*time.Millisecond))
	for range 3 {
		require.NoError(t, try(r, srv.URL, time.Minute))
	}
	require.Equal(t, 2, srv.Conns())
	close(more)
	body, err := io.ReadAll(stream.Body)
	require.NoError(t, err)
	require.NoError(t, stream.Body.Close())
	require.Equal(t, "still there", string(body))
	require.EqualValues(t, 1, r.Stats().Failed)
	require.EqualValues(t, 1, r.Stats().Dropped)
}

// A connection that answers after all is used again.
func TestAnswerClearsASuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, together(2))
		r := &transport.Reuse{Base: base(t, srv, 2)}
		warm(t, r, srv.URL, 2)
		done := make(chan error)
		go func() { done <- try(r, srv.URL+"/?n=10&wait=5s", time.Minute) }()
		synctest.Wait()
		require.Error(t, try(r, srv.URL+"/?wait=1h", time.Second))
		require.NoError(t, <-done)
		require.NoError(t, try(r, srv.URL+"/?n=10&wait=1ms", time.Second))
		require.Equal(t, 2, srv.Conns())
		require.Zero(t, r.Stats().Dropped)
	})
}
