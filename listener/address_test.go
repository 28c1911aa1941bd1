package listener_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// lateAddr yields connections that learn the address of their client from the first
// byte that it sends, as a PROXY protocol listener does.
type lateAddr struct{ *listenertest.Listener }

type lateConn struct{ net.Conn }

func (l lateAddr) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lateConn{c}, nil
}

func (c *lateConn) RemoteAddr() net.Addr {
	b := make([]byte, 1)
	if _, err := c.Conn.Read(b); err != nil {
		return c.Conn.RemoteAddr()
	}
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, b[0]), Port: 1}
}

// sends connects a client whose header names the source 192.0.2.n.
func sends(t *testing.T, l *listenertest.Listener, n byte) net.Conn {
	t.Helper()
	c := connect(t, l)
	_, err := c.Write([]byte{n})
	require.NoError(t, err)
	return c
}

func behindProxy(t *testing.T, lim listener.Limits, f func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(lateAddr{inner}, lim)
		defer func() { require.NoError(t, l.Close()) }()
		f(t, inner, l)
	})
}

// Limits that need no address never ask for it.
func TestSilentClientBehindAProxyIsAccepted(t *testing.T) {
	behindProxy(t, listener.Limits{MaxPending: 2, MaxConns: 5, Rate: 100}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		begin := time.Now()
		silent := accept(t, l)
		require.True(t, listener.Admit(silent))
		require.NoError(t, silent.Close())
		require.Zero(t, l.Stats().Open)
		require.Zero(t, time.Since(begin))
	})
}

// Where a limit needs the address, a silent client holds up no other, nor Stats,
// SetLimits, the release of other connections or Close.
func TestSilentClientHoldsUpNothing(t *testing.T) {
	for name, lim := range map[string]listener.Limits{
		"PerSource":        {PerSource: 1},
		"PendingPerSource": {PendingPerSource: 1, MaxPending: 9},
		"Exempt":           {MaxConns: 9, Exempt: func(a net.Addr) bool { return a.String() == "" }},
	} {
		t.Run(name, func(t *testing.T) {
			behindProxy(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
				begin := time.Now()
				connect(t, inner)
				sends(t, inner, 7)
				c := accept(t, l)
				require.Equal(t, 1, l.Stats().Open)
				l.SetLimits(lim)
				require.NoError(t, c.Close())
				require.Zero(t, l.Stats().Open)
				for range 5 {
					connect(t, inner)
				}
				sends(t, inner, 8)
				accept(t, l)
				require.Less(t, time.Since(begin), 20*time.Millisecond)
			})
		})
	}
}

func TestPerSourceBehindAProxy(t *testing.T) {
	behindProxy(t, listener.Limits{PerSource: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		sends(t, inner, 1)
		first := accept(t, l)
		got := acceptLater(l)
		again := sends(t, inner, 1)
		isReset(t, again)
		pending(t, got)
		sends(t, inner, 2)
		require.NoError(t, (<-got).err)
		require.NoError(t, first.Close())
		sends(t, inner, 1)
		accept(t, l)
		require.Equal(t, uint64(1), l.Stats().Rejected[listener.OverSource])
	})
}

// A client that stays silent is reset, and too many of them reset the oldest.
func TestSilentClientsEnd(t *testing.T) {
	behindProxy(t, listener.Limits{PerSource: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		got := acceptLater(l)
		silent := connect(t, inner)
		begin := time.Now()
		isReset(t, silent)
		require.Equal(t, 10*time.Second, time.Since(begin))
		require.Equal(t, uint64(1), l.Stats().Rejected[listener.OverSource])
		pending(t, got)

		oldest := connect(t, inner)
		for range 1100 {
			connect(t, inner)
		}
		time.Sleep(5 * time.Second)
		isReset(t, oldest)
		sends(t, inner, 1)
		require.NoError(t, (<-got).err)
	})
}

// Close, also with an Accept that waits, resets those that are still silent.
func TestCloseResetsSilentClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(lateAddr{inner}, listener.Limits{PerSource: 1})
		got := acceptLater(l)
		silent := connect(t, inner)
		synctest.Wait()
		require.NoError(t, l.Close())
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
		isReset(t, silent)
	})
}

func TestAdmitAddrBehindAProxy(t *testing.T) {
	behindProxy(t, listener.Limits{MaxPending: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		sends(t, inner, 7)
		c := accept(t, l)
		addr := c.RemoteAddr() // as gRPC asks for it
		require.Equal(t, "192.0.2.7:1", addr.String())
		begin := time.Now()
		require.True(t, l.AdmitAddr(addr))
		require.Zero(t, time.Since(begin))
		require.Equal(t, 1, l.Stats().Pending)

		sends(t, inner, 8)
		accept(t, l)
		require.True(t, l.AdmitAddr(textAddr("192.0.2.8:1"))) // though its address was not asked for before
		require.LessOrEqual(t, time.Since(begin), 50*time.Millisecond)
		begin = time.Now()
		for range 100 { // the silent one is asked once
			require.False(t, l.AdmitAddr(addr))
		}
		require.Zero(t, time.Since(begin))
	})
}
