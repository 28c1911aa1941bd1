package transport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/transport"
)

// A pipeHTTP2 is an HTTP/2 server in memory: in a testing/synctest bubble a busy
// machine cannot make a handshake take longer than anybody waits.
type pipeHTTP2 struct {
	pipe  *listenertest.Listener
	conns atomic.Int64 // accepted so far
}

const pipeURL = "https://pipe.test"

func newPipeHTTP2(t *testing.T, handler http.Handler) *pipeHTTP2 {
	t.Helper()
	if strings.HasPrefix(runtime.Version(), "go1.25") {
		t.Skip("go1.25: its HTTP/2 uses channels of a bubble from outside, which ends the process")
	}
	s := &pipeHTTP2{pipe: listenertest.New()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	require.NoError(t, err)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	server := &http.Server{
		Handler:   handler,
		Protocols: protocols,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.conns.Add(1)
			}
		},
	}
	var serve sync.WaitGroup
	serve.Go(func() { _ = server.ServeTLS(s.pipe, "", "") })
	t.Cleanup(func() {
		_ = server.Close()
		serve.Wait()
	})
	return s
}

// base returns a transport that reaches the server.
func (s *pipeHTTP2) base(t *testing.T) *http.Transport {
	t.Helper()
	tr := transport.New(100)
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		time.Sleep(20 * time.Millisecond) // so that everybody else is there before it is
		return s.pipe.DialContext(ctx, network, addr)
	}
	tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func TestColdStartExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newPipeHTTP2(t, payload)
		r := &transport.Reuse{Base: srv.base(t), ColdStart: true}
		concurrently(64, 64, func() { readAll(t, r, pipeURL+"/?n=10") })
		require.EqualValues(t, 1, srv.conns.Load())
		require.EqualValues(t, 63, r.Stats().Waited)

		time.Sleep(time.Hour) // it was closed while nobody looked
		concurrently(64, 64, func() { readAll(t, r, pipeURL+"/?n=10") })
		require.EqualValues(t, 2, srv.conns.Load())
		require.EqualValues(t, 2*63, r.Stats().Waited)
	})
}

// The request that dials for all is given up by its caller: the next one dials, and
// not everybody at once, since that says nothing about the host.
func TestColdStartSurvivesItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newPipeHTTP2(t, payload)
		r := &transport.Reuse{Base: srv.base(t), ColdStart: true}
		ctx, cancel := newContext(t)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := r.RoundTrip(newRequest(t, pipeURL).WithContext(ctx)) //nolint:bodyclose // there is none
			require.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait() // it dials
		for range 63 {
			all.Go(func() { readAll(t, r, pipeURL+"/?n=10") })
		}
		synctest.Wait()
		cancel()
		start := time.Now()
		all.Wait()
		require.Equal(t, 20*time.Millisecond, time.Since(start), "a dial")
		require.LessOrEqual(t, srv.conns.Load(), int64(2))
	})
}

// More requests than a connection carries at once, 250, open as many as they need.
func TestColdStartBeyondTheStreamLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		srv := newPipeHTTP2(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		r := &transport.Reuse{Base: srv.base(t), ColdStart: true}
		var all sync.WaitGroup
		for range 600 {
			all.Go(func() { readAll(t, r, pipeURL) })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		close(release)
		all.Wait()
		conns := srv.conns.Load()
		t.Logf("%d connections", conns)
		require.GreaterOrEqual(t, conns, int64(3))
		require.LessOrEqual(t, conns, int64(6)) // without: 600; net/http assumes a limit of 100 until told
	})
}

// Those who have got a connection and not yet sent a header would all be sent to look
// for another one, and each dial: who retires it lets them go first.
func TestRetirementWaitsForWhoHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newPipeHTTP2(t, payload)
		r := &transport.Reuse{Base: srv.base(t), ColdStart: true, MaxConnAge: time.Second, Jitter: -1}
		readAll(t, r, pipeURL) // its connection is born 20ms from the start
		time.Sleep(995 * time.Millisecond)
		slow := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { time.Sleep(10 * time.Millisecond) },
		})
		var all sync.WaitGroup
		for range 63 {
			all.Go(func() {
				resp, err := r.RoundTrip(newRequest(t, pipeURL).WithContext(slow))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			})
		}
		synctest.Wait()
		time.Sleep(5 * time.Millisecond)
		readAll(t, r, pipeURL)
		all.Wait()
		require.EqualValues(t, 1, r.Stats().Retired)
		readAll(t, r, pipeURL)
		require.EqualValues(t, 2, srv.conns.Load())
		require.Zero(t, r.Stats().Failed)
	})
}

// 64 workers go on while connections are retired: each is replaced by one.
func TestColdStartAtRetirement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newPipeHTTP2(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Millisecond) }))
		r := &transport.Reuse{Base: srv.base(t), ColdStart: true, MaxConnAge: time.Second, Jitter: -1}
		end := time.Now().Add(5500 * time.Millisecond)
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for time.Now().Before(end) {
					readAll(t, r, pipeURL)
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		all.Wait()
		s := r.Stats()
		t.Logf("%+v, %d connections", s, srv.conns.Load())
		require.EqualValues(t, 5, s.Retired)
		require.EqualValues(t, 6, srv.conns.Load())
		require.Zero(t, s.Failed)
	})
}
