//go:build linux

package integration_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// idleConns is how many connections a client holds when they die.
const idleConns = 16

// servers are one for each protocol.
var servers = map[string]func(testing.TB, http.Handler) *transporttest.Server{
	"HTTP1": transporttest.NewServer,
	"TLS":   transporttest.NewTLSServer,
	"HTTP2": transporttest.NewHTTP2Server,
}

// A peer is an HTTP client to compare with.
type peer struct {
	name string
	new  func(*tls.Config) http.RoundTripper
}

var peers = []peer{
	{"net/http", func(c *tls.Config) http.RoundTripper {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig, t.MaxIdleConnsPerHost = c, idleConns // or two die
		return t
	}},
	{"cleanhttp", func(c *tls.Config) http.RoundTripper {
		t := cleanhttp.DefaultPooledTransport()
		t.TLSClientConfig, t.MaxIdleConnsPerHost = c, idleConns
		return t
	}},
	{"New", func(c *tls.Config) http.RoundTripper {
		t := transport.New(idleConns)
		t.TLSClientConfig = c
		return t
	}},
	{"Reuse", func(c *tls.Config) http.RoundTripper {
		t := transport.New(idleConns)
		t.TLSClientConfig = c
		return &transport.Reuse{Base: t}
	}},
}

// barrier is a handler that answers as soon as n requests are there, and from then on
// at once.
func barrier(n int) http.Handler {
	var mu sync.Mutex
	all := make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		if n--; n == 0 {
			close(all)
		}
		mu.Unlock()
		<-all
		_, _ = io.WriteString(w, "hello")
	})
}

// open sends n requests at once, so that rt has as many idle connections over HTTP/1.
func open(t *testing.T, rt http.RoundTripper, url string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() { errs <- request(rt, url, time.Minute) })
	}
	wg.Wait()
	for range n {
		require.NoError(t, <-errs)
	}
}

func request(rt http.RoundTripper, url string, limit time.Duration) error {
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

// failuresInARow is how many requests fail until one succeeds.
func failuresInARow(rt http.RoundTripper, url string, limit time.Duration) int {
	for n := range 2 * idleConns {
		if request(rt, url, limit) == nil {
			return n
		}
	}
	return 2 * idleConns
}

// A victim is a client whose connections are about to die.
type victim struct {
	name string
	rt   http.RoundTripper
	srv  *transporttest.Server
}

// newVictim opens connections.
func newVictim(t *testing.T, protocol string, p peer) *victim {
	t.Helper()
	v := &victim{name: protocol + " " + p.name, srv: servers[protocol](t, barrier(idleConns))}
	var config *tls.Config
	if theirs := v.srv.Client().Transport.(*http.Transport).TLSClientConfig; theirs != nil {
		config = &tls.Config{RootCAs: theirs.RootCAs}
	}
	v.rt = p.new(config)
	open(t, v.rt, v.srv.URL, idleConns)
	t.Cleanup(v.rt.(interface{ CloseIdleConnections() }).CloseIdleConnections)
	return v
}

// vanish silences its connections.
func (v *victim) vanish(l *lab) {
	l.t.Helper()
	l.vanish(v.srv.URL[strings.LastIndex(v.srv.URL, "/")+1:])
}

// Connections that die without a word cost one request, however many died, where
// peers pay a time-out for each.
func TestSilentDeathCostsOneRequest(t *testing.T) {
	inLab(t, func(l *lab) {
		var victims []*victim
		for protocol := range servers {
			for _, p := range peers {
				victims = append(victims, newVictim(l.t, protocol, p))
			}
		}
		var wg sync.WaitGroup
		for _, v := range victims {
			v.vanish(l)
			wg.Go(func() {
				from := time.Now()
				failed := failuresInARow(v.rt, v.srv.URL, time.Second)
				l.t.Logf("%-15s %2d failed in a row, %4.1f s", v.name, failed, time.Since(from).Seconds())
				if strings.HasSuffix(v.name, " Reuse") {
					assert.LessOrEqual(l.t, failed, 2, v.name)
				}
			})
		}
		wg.Wait()
	})
}

// After more than 30s of silence they cost nothing: keep-alive has found them.
func TestSilentDeathIsFoundWhileIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	inLab(t, func(l *lab) {
		var victims []*victim
		for protocol := range servers {
			victims = append(victims, newVictim(l.t, protocol, peers[len(peers)-1]))
		}
		for _, v := range victims {
			v.vanish(l)
		}
		<-time.After(33 * time.Second)
		for _, v := range victims {
			require.NoError(l.t, request(v.rt, v.srv.URL, 10*time.Second), v.name)
			require.Zero(l.t, v.rt.(*transport.Reuse).Stats().Dropped)
		}
	})
}

// A request without any time-out ends when the server has not acknowledged it for 30s.
func TestUnacknowledgedRequestEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	inLab(t, func(l *lab) {
		var wg sync.WaitGroup
		for protocol := range servers {
			v := newVictim(l.t, protocol, peers[len(peers)-1])
			v.vanish(l)
			wg.Go(func() {
				from := time.Now()
				err := request(v.rt, v.srv.URL, 2*time.Minute)
				took := time.Since(from)
				l.t.Logf("%s: %.1f s, %v", v.name, took.Seconds(), err)
				assert.Less(l.t, took, time.Minute)
				assert.GreaterOrEqual(l.t, took, 25*time.Second)
			})
		}
		wg.Wait()
	})
}

// A host that is gone takes no connection to another host with it.
func TestSilentDeathOfOneHostOfTwo(t *testing.T) {
	inLab(t, func(l *lab) {
		alive := newVictim(l.t, "HTTP1", peers[len(peers)-1])
		dead := transporttest.NewServer(l.t, barrier(idleConns))
		open(l.t, alive.rt, dead.URL, idleConns)
		addr := strings.TrimPrefix(dead.URL, "http://")
		l.blackhole(addr)
		require.Error(l.t, request(alive.rt, dead.URL, time.Second))
		require.Error(l.t, request(alive.rt, dead.URL, time.Second), "nothing answers")
		open(l.t, alive.rt, alive.srv.URL, 1)
		require.Equal(l.t, idleConns, alive.srv.Conns())

		l.heal()
		require.NoError(l.t, request(alive.rt, dead.URL, 10*time.Second), "it comes back")
		require.Equal(l.t, idleConns+1, dead.Conns())
	})
}

// A lossy network is slow, and nothing of it is dead.
func TestLossIsNoDeath(t *testing.T) {
	inLab(t, func(l *lab) {
		v := newVictim(l.t, "HTTP1", peers[len(peers)-1])
		l.lose(strings.TrimPrefix(v.srv.URL, "http://"), 10)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 25 {
					assert.NoError(l.t, request(v.rt, v.srv.URL, 30*time.Second))
				}
			})
		}
		wg.Wait()
		require.Zero(l.t, v.rt.(*transport.Reuse).Stats().Dropped)
		require.Equal(l.t, idleConns, v.srv.Conns())
	})
}

// A middlebox that forgets idle connections costs one request of many that were idle.
func TestForgottenByAMiddlebox(t *testing.T) {
	inLab(t, func(l *lab) {
		v := newVictim(l.t, "HTTP1", peers[len(peers)-1])
		v.rt.(*transport.Reuse).CloseIdleConnections()
		l.forgetIdle(strings.TrimPrefix(v.srv.URL, "http://"), 500*time.Millisecond)
		for range 3 {
			open(l.t, v.rt, v.srv.URL, 8)
			<-time.After(time.Second)
			require.LessOrEqual(l.t, failuresInARow(v.rt, v.srv.URL, time.Second), 2)
		}
	})
}
