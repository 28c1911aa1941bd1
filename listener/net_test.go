package listener_test

import (
	"errors"
	"flag"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// whenAsked skips what takes long, and needs a quiet machine, unless -run names it.
func whenAsked(t *testing.T, name string) {
	t.Helper()
	if testing.Short() || !strings.Contains(flag.Lookup("test.run").Value.String(), name) {
		t.Skipf("takes long: go test -run %s -v", name)
	}
}

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

// echo sends a byte and waits for one.
func echo(c net.Conn, within time.Duration) error {
	_, err := c.Write([]byte("x"))
	return errors.Join(err, c.SetReadDeadline(time.Now().Add(within)), func() error {
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}())
}
