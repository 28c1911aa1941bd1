package listener_test

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

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
	*net.TCPListener
	accepted, pass chan struct{}
}

func newHandover(t *testing.T) *handover {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return &handover{inner.(*net.TCPListener), make(chan struct{}, 1), make(chan struct{}, 1)}
}

// withAndWithoutDeadlines are two ways to end an Accept.
func withAndWithoutDeadlines(t *testing.T, f func(t *testing.T, h *handover, g *listener.Gate)) {
	t.Run("deadlines", func(t *testing.T) {
		h := newHandover(t)
		f(t, h, listener.NewGate(h))
	})
	t.Run("no deadlines", func(t *testing.T) {
		h := newHandover(t)
		f(t, h, listener.NewGate(struct{ net.Listener }{h}))
	})
}

func (h *handover) Accept() (net.Conn, error) {
	c, err := h.TCPListener.Accept()
	if err == nil {
		h.accepted <- struct{}{}
		<-h.pass
	}
	return c, err
}

func TestWhatIsInHandAtShutIsKeptByAParkedGate(t *testing.T) {
	withAndWithoutDeadlines(t, func(t *testing.T, h *handover, g *listener.Gate) {
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
	})
}

func TestWhatIsInHandAtCloseIsReset(t *testing.T) {
	withAndWithoutDeadlines(t, func(t *testing.T, h *handover, g *listener.Gate) {
		require.NoError(t, g.Open(t.Context()))
		got := acceptLater(g)
		client := dial(t, g.Addr())
		<-h.accepted
		require.NoError(t, g.Close())
		h.pass <- struct{}{}
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Equal(t, listener.GateStats{Openings: 1, Reset: 1}, g.Stats())
	})
}

// As a Drain begins it comes out, and is ended like the others; if the listener has no
// deadlines, it waits for the next Open as a client in the kernel's queue does.
func TestWhatIsInHandAtDrain(t *testing.T) {
	withAndWithoutDeadlines(t, func(t *testing.T, h *handover, g *listener.Gate) {
		require.NoError(t, g.Open(t.Context()))
		l := listener.Throttle(g, listener.Limits{MaxConns: 9})
		got := acceptLater(l)
		client := dial(t, g.Addr())
		<-h.accepted
		if strings.HasSuffix(t.Name(), "no_deadlines") {
			require.NoError(t, l.Drain(t.Context(), 1, nil))
			require.Empty(t, got)
			require.NoError(t, g.Open(t.Context()))
			h.pass <- struct{}{}
		} else {
			drained := make(chan error, 1)
			ends := make(chan net.Conn, 9)
			go func() { drained <- l.Drain(t.Context(), 1, func(c net.Conn) { ends <- c }) }()
			require.Eventually(t, func() bool { return g.State() == listener.Closed }, time.Minute, time.Millisecond)
			require.Empty(t, drained)
			h.pass <- struct{}{}
			require.NoError(t, (<-ends).Close())
			require.NoError(t, <-drained)
		}
		a := <-got
		require.NoError(t, a.err)
		require.Equal(t, client.LocalAddr().String(), a.RemoteAddr().String())
		_ = a.Close()
		require.NoError(t, l.Close())
	})
}
