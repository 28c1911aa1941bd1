package listener_test

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

func TestAdmitThroughWrappers(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		outer := listener.Throttle(tls.NewListener(l, &tls.Config{}), listener.Limits{MaxPending: 1})
		defer outer.Close()
		connect(t, inner)
		c := accept(t, outer)
		require.Equal(t, 1, l.Stats().Pending)
		require.Equal(t, 1, outer.Stats().Pending)
		require.True(t, listener.Admit(c))
		require.Zero(t, l.Stats().Pending)
		require.Zero(t, outer.Stats().Pending)
		require.NoError(t, c.Close())
		require.Zero(t, l.Stats().Open)
		require.Zero(t, outer.Stats().Open)

		a, b := net.Pipe()
		require.False(t, listener.Admit(a))
		require.False(t, listener.Admit(nil))
		require.NoError(t, errors.Join(a.Close(), b.Close()))
	})
}

func TestAdmitAddr(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 3}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		from(t, inner, "192.0.2.1", 1)
		from(t, inner, "2001:db8::1", 2)
		named := connect(t, inner)
		for range 3 {
			accept(t, l)
		}
		require.False(t, l.AdmitAddr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 2}))
		require.False(t, l.AdmitAddr(nil))
		require.False(t, l.AdmitAddr(&net.UnixAddr{Net: "unix"}))
		require.Equal(t, 3, l.Stats().Pending)
		require.True(t, l.AdmitAddr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1).To4(), Port: 1}))
		require.True(t, l.AdmitAddr(&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 2}))
		require.True(t, l.AdmitAddr(named.LocalAddr()))
		require.False(t, l.AdmitAddr(named.LocalAddr())) // not pending any more
		require.Zero(t, l.Stats().Pending)

		// gRPC in an http.Server has the address as a text
		from(t, inner, "192.0.2.1", 3)
		accept(t, l)
		require.False(t, l.AdmitAddr(textAddr("192.0.2.1:4")))
		require.True(t, l.AdmitAddr(textAddr("192.0.2.1:3")))
	})
}

// anonymous yields connections whose other end has no address, as net does if the
// system names none.
type anonymous struct{ net.Listener }

type anonymousConn struct{ net.Conn }

func (anonymousConn) RemoteAddr() net.Addr { return nil }

func (a anonymous) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	return anonymousConn{c}, err
}

func TestConnWithoutAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(anonymous{inner}, listener.Limits{MaxPending: 9, PerSource: 1})
		defer l.Close()
		for range 2 { // no source, no limit
			connect(t, inner)
			accept(t, l)
		}
		require.False(t, l.AdmitAddr(inner.Addr()))
		require.Equal(t, 2, l.Stats().Pending)
	})
}

func TestAdmitContext(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		ctx := listener.ConnContext(t.Context(), tls.Server(c, &tls.Config{}))
		require.True(t, listener.AdmitContext(ctx))
		require.Zero(t, l.Stats().Pending)
		require.False(t, listener.AdmitContext(t.Context()))
		a, b := net.Pipe()
		require.Equal(t, t.Context(), listener.ConnContext(t.Context(), a))
		require.NoError(t, errors.Join(a.Close(), b.Close()))
	})
}
