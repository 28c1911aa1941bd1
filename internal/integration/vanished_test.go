//go:build linux

package integration_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// A hundred clients that vanish free their places at a listener that is full within 30s,
// idle ones as well as those that the server has written to; a new client is served then.
func TestVanishedClientsFreeTheirPlaces(t *testing.T) {
	inLab(t, func(l *lab) {
		if testing.Short() {
			t.Skip("takes 30s, as keep-alive and TCP_USER_TIMEOUT do")
		}
		gate, err := listener.Reserve(t.Context(), "tcp", "127.0.0.1:7001")
		require.NoError(t, err)
		require.NoError(t, gate.Open(t.Context()))
		plain, err := net.Listen("tcp", "127.0.0.2:7001")
		require.NoError(t, err)
		begin := time.Now()
		full := map[string]*fullListener{}
		for name, under := range map[string]net.Listener{"reserved": gate, "net.Listen": plain} {
			f := newFullListener(t, listener.Throttle(under, listener.Limits{MaxConns: 100}))
			full[name] = f
			require.Equal(t, 100, f.l.Stats().Open)
			l.vanish(f.l.Addr().String())
			go f.say() // to every second client
		}
		for name, f := range full {
			conn, err := net.DialTimeout("tcp", f.l.Addr().String(), 5*time.Second)
			require.NoError(t, err)
			require.NoError(t, ask(conn, 40*time.Second), name)
			t.Logf("%s: served after %v", name, time.Since(begin).Round(time.Second/10))
			require.Less(t, time.Since(begin), 34*time.Second, name)
			require.Eventually(t, func() bool { return f.l.Stats().Open == 1 }, time.Until(begin.Add(34*time.Second)), 50*time.Millisecond, name)
			require.NoError(t, conn.Close())
			require.NoError(t, f.l.Close())
		}
	})
}

// fullListener is an echo server whose places are all taken.
type fullListener struct {
	l     *listener.Throttled
	conns []net.Conn
}

func newFullListener(t *testing.T, l *listener.Throttled) *fullListener {
	f := &fullListener{l: l}
	for range 100 {
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = client.Close() })
		c, err := l.Accept()
		require.NoError(t, err)
		f.conns = append(f.conns, c)
		go echoUntilEnd(c)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echoUntilEnd(c)
		}
	}()
	return f
}

// say writes once to every second client, which acknowledges nothing.
func (f *fullListener) say() {
	for i, c := range f.conns {
		if i%2 == 0 {
			_, _ = c.Write([]byte("news"))
		}
	}
}

func echoUntilEnd(c net.Conn) {
	defer c.Close()
	b := make([]byte, 100)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}
