package listener_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// Clients connect to a parked gate before it opens, and none is lost.
func TestParkOnSockets(t *testing.T) {
	for name, a := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			g, err := listener.Config{Park: true}.Reserve(t.Context(), a[0], a[1])
			require.NoError(t, err)
			defer g.Close()
			l := listener.Throttle(g, listener.Limits{MaxPending: 1000})
			got := acceptLater(l)
			addr := reachable(t, g.Addr())
			for range 100 {
				dial(t, addr)
			}
			require.Empty(t, got)
			require.NoError(t, g.Open(t.Context()))
			require.NoError(t, (<-got).err)
			for range 99 {
				accept(t, l)
			}
			got = acceptLater(l)
			require.NoError(t, g.Shut())
			dial(t, addr)
			require.Empty(t, got)
			require.NoError(t, g.Open(t.Context()))
			a := <-got
			require.NoError(t, a.err)
			require.NoError(t, a.Close())
			require.Zero(t, g.Stats().Reset)
			require.Zero(t, g.Stats().AcceptErrors)
		})
	}
}

func TestShutResetsTheQueueOfARefusingGate(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	client := dial(t, g.Addr())
	require.NoError(t, g.Shut())
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// handover returns a connection from Accept when it is told to.
type handover struct {
	net.Listener
	accepted, pass chan struct{}
}

func (h *handover) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err == nil {
		h.accepted <- struct{}{}
		<-h.pass
	}
	return c, err
}

func TestWhatIsInHandAtShutIsKeptByAParkedGate(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &handover{inner, make(chan struct{}, 1), make(chan struct{}, 1)}
	g := listener.NewGate(h)
	require.NoError(t, g.Open(t.Context()))
	got := acceptLater(g)
	client := dial(t, g.Addr())
	<-h.accepted
	require.NoError(t, g.Shut())
	h.pass <- struct{}{}
	require.NoError(t, g.Open(t.Context()))
	a := <-got
	require.NoError(t, a.err)
	require.Equal(t, client.LocalAddr().String(), a.RemoteAddr().String())
	require.NoError(t, a.Close())
	require.NoError(t, g.Close())
}

func TestWhatIsInHandAtCloseIsReset(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &handover{inner, make(chan struct{}, 1), make(chan struct{}, 1)}
	g := listener.NewGate(h)
	require.NoError(t, g.Open(t.Context()))
	got := acceptLater(g)
	client := dial(t, g.Addr())
	<-h.accepted
	require.NoError(t, g.Close())
	h.pass <- struct{}{}
	require.ErrorIs(t, (<-got).err, net.ErrClosed)
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Equal(t, listener.GateStats{Openings: 1, Reset: 1}, g.Stats())
}
