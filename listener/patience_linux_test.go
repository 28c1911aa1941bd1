package listener_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// The kernel knows how long a TCP client has waited, whether it has sent something
// or not.
func TestPatienceOnSockets(t *testing.T) {
	needsKernel(t)
	for _, mptcp := range []bool{false, true} {
		var c listener.Config
		c.ListenConfig.SetMultipathTCP(mptcp)
		g, err := c.Reserve(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		lim := listener.Limits{MaxPending: 3, Patience: 50 * time.Millisecond}
		l := listener.Throttle(g, lim)
		defer l.Close()
		require.NoError(t, g.Open(t.Context()))
		silent, speaks := dial(t, g.Addr()), dial(t, g.Addr())
		<-time.After(100 * time.Millisecond)
		_, err = speaks.Write([]byte("x"))
		require.NoError(t, err)
		got := acceptLater(l)
		for _, c := range []interface{ Read([]byte) (int, error) }{silent, speaks} {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
		require.Equal(t, uint64(2), l.Stats().Rejected[listener.OverPatience])

		lim.Patience = time.Hour
		l.SetLimits(lim)
		patient := dial(t, g.Addr())
		a := <-got
		require.NoError(t, a.err)
		require.Equal(t, patient.LocalAddr().String(), a.RemoteAddr().String())
		require.NoError(t, a.Close())
	}
}

// Of Unix sockets it knows nothing, and all are trusted.
func TestPatienceOfUnixSockets(t *testing.T) {
	g := reserve(t, "unix", filepath.Join(t.TempDir(), "s"))
	l := listener.Throttle(g, listener.Limits{MaxPending: 1, Patience: 1})
	require.NoError(t, g.Open(t.Context()))
	dial(t, g.Addr())
	require.NotNil(t, accept(t, l))
}
