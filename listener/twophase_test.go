package listener_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

func TestTwoPhase(t *testing.T) {
	for _, park := range []bool{false, true} {
		if !park && runtime.GOOS != "linux" {
			continue
		}
		c := listener.Config{Park: park}
		l, err := c.ListenTwoPhase(t.Context(), "tcp", "127.0.0.1:0", "127.0.0.1:0", listener.Limits{MaxPending: 1})
		require.NoError(t, err)
		require.Equal(t, listener.Closed, l.Gate.State())
		require.Equal(t, l.Gate.Addr(), l.Addr())
		serves(t, l, l.Private.Addr())
		require.NoError(t, l.Open(t.Context()))
		serves(t, l, l.Addr())
		serves(t, l, l.Private.Addr())
		require.Equal(t, uint64(1), l.Public.Stats().Accepted) // the private port is not counted
		require.NoError(t, l.Shut())
		serves(t, l, l.Private.Addr())
		require.NoError(t, l.Err())
		require.NoError(t, l.Private.Close()) // by somebody else
		serves(t, opened(t, l), l.Addr())
		require.Eventually(t, func() bool { return l.Err() != nil }, time.Minute, time.Millisecond)
		require.ErrorIs(t, l.Err(), net.ErrClosed)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

func opened(t *testing.T, l *listener.TwoPhase) *listener.TwoPhase {
	t.Helper()
	require.NoError(t, l.Open(t.Context()))
	return l
}

func TestOnePhaseIsOpenAtOnce(t *testing.T) {
	l, err := listener.Config{Park: true}.ListenTwoPhase(t.Context(), "tcp", "", "127.0.0.1:0", listener.Limits{})
	require.NoError(t, err)
	require.Nil(t, l.Private)
	require.Equal(t, listener.Opened, l.Gate.State())
	serves(t, l, l.Addr())
	require.NoError(t, l.Close())
}

func TestTwoPhaseNamesBothAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, a := range [][2]string{
		{taken.Addr().String(), "127.0.0.1:0"},
		{"127.0.0.1:0", taken.Addr().String()},
		{taken.Addr().String(), taken.Addr().String()},
		{"", taken.Addr().String()},
		{"nonsense", "127.0.0.1:0"},
	} {
		for _, c := range []listener.Config{{}, {Park: true}} {
			l, err := c.ListenTwoPhase(t.Context(), "tcp", a[0], a[1], listener.Limits{})
			require.ErrorContains(t, err, `"`+a[0]+`"`)
			require.ErrorContains(t, err, `"`+a[1]+`"`)
			require.Nil(t, l)
		}
	}
	require.PanicsWithValue(t, "listener: ListenTwoPhase with unknown Limits.Overflow -1", func() {
		_, _ = listener.ListenTwoPhase(t.Context(), "tcp", "", "127.0.0.1:0", listener.Limits{Overflow: -1})
	})
}

// The same free address for both must not succeed and take turns.
func TestTwoPhaseOfEqualAddresses(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	for _, c := range []listener.Config{{}, {Park: true}} {
		_, err = c.ListenTwoPhase(t.Context(), "tcp", addr, addr, listener.Limits{})
		require.ErrorContains(t, err, addr)
		l, err := net.Listen("tcp", addr) // nothing stayed bound
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}
