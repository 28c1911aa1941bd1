package integration_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/soheilhy/cmux"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dialTCP(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// proxied connects as a balancer does, for a client at 192.0.2.n.
func proxied(t *testing.T, addr net.Addr, n int) net.Conn {
	t.Helper()
	c := dialTCP(t, addr)
	_, err := fmt.Fprintf(c, "PROXY TCP4 192.0.2.%d 192.0.2.200 %d 443\r\n", n, 1000+n)
	require.NoError(t, err)
	return c
}

func acceptOne(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	type result struct {
		net.Conn
		err error
	}
	got := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		got <- result{c, err}
	}()
	select {
	case r := <-got:
		require.NoError(t, r.err)
		t.Cleanup(func() { _ = r.Close() })
		return r.Conn
	case <-time.After(5 * time.Second):
		require.FailNow(t, "Accept is stuck")
		return nil
	}
}

// PROXY protocol below the throttle: limits for each source see the client, and silent
// clients stop nothing.
func TestProxyProtocolBelow(t *testing.T) {
	inner := &proxyproto.Listener{Listener: listenTCP(t), ReadHeaderTimeout: 10 * time.Second}
	l := listener.Throttle(inner, listener.Limits{MaxPending: 9, PerSource: 1})
	defer l.Close()
	for range 20 {
		dialTCP(t, l.Addr()) // says nothing
	}
	proxied(t, l.Addr(), 1)
	first := acceptOne(t, l)
	require.Equal(t, "192.0.2.1:1001", first.RemoteAddr().String())
	again := proxied(t, l.Addr(), 1)
	proxied(t, l.Addr(), 2)
	second := acceptOne(t, l)
	require.Equal(t, "192.0.2.2:1002", second.RemoteAddr().String())
	require.NoError(t, again.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err := again.Read(make([]byte, 1))
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "rejected")
	require.EqualValues(t, 1, l.Stats().Rejected[listener.OverSource])
	require.True(t, l.AdmitAddr(second.RemoteAddr()))
	require.True(t, listener.Admit(first))
	require.Zero(t, l.Stats().Pending)
	require.NoError(t, first.Close())
	require.Equal(t, 1, l.Stats().Open)
}

// Below, with limits that need no address: nothing is asked for it, ever.
func TestProxyProtocolBelowWithoutSources(t *testing.T) {
	inner := &proxyproto.Listener{Listener: listenTCP(t), ReadHeaderTimeout: time.Hour}
	l := listener.Throttle(inner, listener.Limits{MaxPending: 9, MaxConns: 9})
	defer l.Close()
	dialTCP(t, l.Addr())
	silent := acceptOne(t, l)
	require.Equal(t, 1, l.Stats().Pending)
	require.NoError(t, silent.Close())
	require.Zero(t, l.Stats().Open)
}

// On top, with TLS on top of that: Admit looks through both.
func TestProxyProtocolOnTop(t *testing.T) {
	throttle := listener.Throttle(listenTCP(t), listener.Limits{MaxPending: 9})
	l := tls.NewListener(&proxyproto.Listener{Listener: throttle}, &tls.Config{})
	defer l.Close()
	proxied(t, l.Addr(), 1)
	c := acceptOne(t, l)
	require.Equal(t, 1, throttle.Stats().Pending)
	require.True(t, listener.Admit(c))
	require.Zero(t, throttle.Stats().Pending)
	require.True(t, listener.AdmitContext(listener.ConnContext(t.Context(), c)))
}

func TestCmuxOnTop(t *testing.T) {
	throttle := listener.Throttle(listenTCP(t), listener.Limits{MaxPending: 9})
	mux := cmux.New(throttle)
	l := mux.Match(cmux.Any())
	served := make(chan error, 1)
	go func() { served <- mux.Serve() }()
	client := dialTCP(t, throttle.Addr())
	_, err := client.Write([]byte("x"))
	require.NoError(t, err)
	c := acceptOne(t, l)
	require.True(t, listener.Admit(c))
	require.Zero(t, throttle.Stats().Pending)
	require.EqualValues(t, 1, throttle.Stats().Admitted)
	require.NoError(t, throttle.Close())
	require.Error(t, <-served)
}
