package listener_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// timeWaits counts the TIME_WAIT sockets on our side of a port.
func timeWaits(t *testing.T, port int) int {
	t.Helper()
	found := make(map[string]bool) // by both addresses: one that moves while the table is read is there twice
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		for line := range bytes.Lines(table) {
			f := strings.Fields(string(line))
			if len(f) > 3 && f[3] == "06" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				found[f[1]+" "+f[2]] = true
			}
		}
	}
	return len(found)
}

func TestRejectsLeaveNoTimeWait(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	l := listener.Throttle(g, listener.Limits{MaxConns: 1, Overflow: listener.Reset})
	port := g.Addr().(*net.TCPAddr).Port
	before := timeWaits(t, port) // of whoever had the port before
	client := dial(t, g.Addr())
	first := accept(t, l)
	got := acceptLater(l)
	for range 200 {
		c, err := net.Dial("tcp", g.Addr().String())
		if err == nil { // or the reset was there before connect had returned
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	require.LessOrEqual(t, timeWaits(t, port), before)
	require.Equal(t, uint64(200), l.Stats().Rejected[listener.OverConns])

	require.NoError(t, first.Close()) // the table does show what there is
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, client.Close())
	// On a busy machine the last FIN takes a moment.
	require.Eventually(t, func() bool { return timeWaits(t, port) > 0 }, time.Minute, time.Millisecond)
	require.LessOrEqual(t, timeWaits(t, port), before+1)
	require.NoError(t, l.Close())
	<-got
}

// A goodbye arrives although the client has sent what nobody reads.
func TestGoodbyeArrives(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	l := listener.Throttle(g, listener.Limits{
		MaxConns: 1, Overflow: listener.Reset,
		Reject: func(c net.Conn, _ listener.Reason) { _, _ = io.WriteString(c, "HTTP/1.1 503 Full\r\n\r\n") },
	})
	dial(t, g.Addr())
	accept(t, l)
	got := acceptLater(l)
	for range 50 {
		c := dial(t, g.Addr())
		_, _ = c.Write(make([]byte, 1000))
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Contains(t, string(answer), "503 Full")
		_ = c.Close()
	}
	require.NoError(t, l.Close())
	<-got
}
