package listener_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

type (
	rawer      struct{ in net.Conn } // as go-proxyproto
	embeds     struct{ net.Conn }    // as cmux
	embedsTLS  struct{ *tls.Conn }
	embedsNone struct{ net.Conn }
)

func (r rawer) Raw() net.Conn { return r.in }

// rawConn has no other method that leads inside.
type rawConn struct {
	net.Conn
	rawer
}

func TestAdmitThroughOthersWrappers(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"Raw":      func(c net.Conn) net.Conn { return &rawConn{nil, rawer{c}} },
		"embedded": func(c net.Conn) net.Conn { return &embeds{c} },
		"value":    func(c net.Conn) net.Conn { return embeds{c} },
		"tls":      func(c net.Conn) net.Conn { return &embedsTLS{tls.Server(embeds{c}, &tls.Config{})} },
	} {
		t.Run(name, func(t *testing.T) {
			throttled(t, listener.Limits{MaxPending: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
				connect(t, inner)
				c := wrap(accept(t, l))
				require.True(t, listener.Admit(c))
				require.Zero(t, l.Stats().Pending)
				require.Equal(t, uint64(1), l.Stats().Admitted)
				require.True(t, listener.AdmitContext(listener.ConnContext(t.Context(), c)))
			})
		})
	}
	require.False(t, listener.Admit(&embedsNone{}))
	loop := &embeds{}
	loop.Conn = loop
	require.False(t, listener.Admit(loop))
}

// Four health checkers with idle keep-alive connections hold no place.
func TestConnStateFreesWhoIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(inner, listener.Limits{MaxPending: 4})
		srv := &http.Server{
			Handler:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
			ConnState: listener.ConnState,
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		begin := time.Now()
		for range 9 {
			client := &http.Client{Transport: &http.Transport{DialContext: inner.DialContext}}
			resp, err := client.Get("http://server/health")
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			require.NoError(t, resp.Body.Close())
			defer client.CloseIdleConnections()
		}
		require.Zero(t, time.Since(begin))
		synctest.Wait()
		require.Zero(t, l.Stats().Pending)
		require.Equal(t, 9, l.Stats().Open)
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

// Only Idle admits: a connection that is new, active, hijacked or closed has not been
// answered.
func TestConnStateOfOtherStates(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		for _, s := range []http.ConnState{http.StateNew, http.StateActive, http.StateHijacked, http.StateClosed} {
			listener.ConnState(c, s)
			require.Equal(t, 1, l.Stats().Pending)
		}
		listener.ConnState(c, http.StateIdle)
		require.Zero(t, l.Stats().Pending)
	})
}

// What a connection can do it can still do under one Throttled or two.
func TestThrottleOverThrottleKeepsMethods(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	below := listener.Throttle(inner, listener.Limits{MaxPending: 5})
	l := listener.Throttle(below, listener.Limits{MaxConns: 5})
	defer l.Close()
	client := dial(t, l.Addr())
	c := accept(t, l)
	require.Implements(t, (*socket)(nil), c)
	require.Implements(t, (*interface{ SetNoDelay(bool) error })(nil), c) // and all that TCP has
	require.Equal(t, 1, below.Stats().Open)
	require.Equal(t, 1, l.Stats().Open)
	require.True(t, listener.Admit(c))
	require.Zero(t, below.Stats().Pending)
	require.NoError(t, c.(socket).CloseWrite())
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, c.Close())
	require.Zero(t, below.Stats().Open)
	require.Zero(t, l.Stats().Open)
	require.ErrorIs(t, c.Close(), net.ErrClosed)
}

// Connections of other types keep what they have, and get nothing that they have not.
func TestWrappersOfOtherTypesKeepMethods(t *testing.T) {
	for name, want := range map[string]struct {
		wrap           func(net.Conn) net.Conn
		half, syscalls bool
	}{
		"pipe":     {func(c net.Conn) net.Conn { return c }, true, false},
		"embedded": {func(c net.Conn) net.Conn { return embeds{c} }, false, false},
		"socket":   {func(c net.Conn) net.Conn { return &socketLike{c.(halfCloser)} }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := listenertest.New()
				l := listener.Throttle(wrapping{inner, want.wrap}, listener.Limits{MaxConns: 5})
				defer l.Close()
				client := connect(t, inner)
				c := accept(t, l)
				_, half := c.(halfCloser)
				require.Equal(t, want.half, half)
				_, syscalls := c.(syscallConn)
				require.Equal(t, want.syscalls, syscalls)
				n, err := io.Copy(c, io.LimitReader(zeros{}, 1000))
				require.NoError(t, err)
				require.EqualValues(t, 1000, n)
				_, err = io.ReadFull(client, make([]byte, 1000))
				require.NoError(t, err)
				_, err = client.Write([]byte("hello"))
				require.NoError(t, err)
				require.NoError(t, client.Close())
				got, err := io.ReadAll(c)
				require.NoError(t, err)
				require.Equal(t, "hello", string(got))
				require.NoError(t, c.Close())
				require.Zero(t, l.Stats().Open)
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// wrapping yields connections of another type.
type wrapping struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (w wrapping) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return w.wrap(c), nil
}
