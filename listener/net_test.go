package listener_test

import (
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asked reports whether -run names what takes long otherwise.
func asked(name string) bool {
	return !testing.Short() && strings.Contains(flag.Lookup("test.run").Value.String(), name)
}

// strict reports whether the machine is quiet enough for bounds on time, and asked
// to keep them.
func strict() bool { return os.Getenv("CONNHYGIENE_STRICT") != "" }

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
