package listener_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(addr.Network(), addr.String(), 10*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// serves requires that a client gets through.
func serves(t *testing.T, l net.Listener, addr net.Addr) {
	t.Helper()
	client := dial(t, addr)
	server, err := l.Accept()
	require.NoError(t, err)
	_, err = server.Write([]byte("x"))
	require.NoError(t, err)
	_, err = client.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, server.Close()) // the server's end gets the TIME_WAIT
}
