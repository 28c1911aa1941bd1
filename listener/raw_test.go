package listener_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// rawLimits are those under which sockets are handed out as they are.
func rawLimits() map[string]listener.Limits {
	return map[string]listener.Limits{"none": {}, "Raw": {MaxPending: 9, Raw: true}}
}

// A raw connection in hand at Shut of a parked gate comes out again at Open, and is one
// connection for all that: one pending place, and one end.
func TestRawConnectionThatIsTakenBack(t *testing.T) {
	for name, lim := range rawLimits() {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			g := listener.NewGate(inner)
			require.NoError(t, g.Open(t.Context()))
			l := listener.Throttle(g, lim)
			other, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			m := listener.Merge(l, other)
			defer m.Close()
			dial(t, other.Addr())
			require.NoError(t, accept(t, m).Close()) // the goroutines run
			client := dial(t, l.Addr())
			accepted := func(n uint64) {
				t.Helper()
				require.Eventually(t, func() bool { return l.Stats().Accepted == n }, time.Minute, time.Millisecond)
			}
			accepted(1) // in Merge's hand
			require.NoError(t, g.Shut())
			accepted(0)
			require.Zero(t, l.Stats().Pending)
			require.NoError(t, g.Open(t.Context()))
			c := accept(t, m)
			require.Equal(t, client.LocalAddr().String(), c.RemoteAddr().String())
			require.LessOrEqual(t, l.Stats().Pending, 1)
			var mu sync.Mutex
			ends := 0
			require.NoError(t, l.Drain(t.Context(), 1e6, func(net.Conn) {
				mu.Lock()
				defer mu.Unlock()
				if ends++; ends == 1 {
					time.AfterFunc(50*time.Millisecond, func() { _ = c.Close() }) // time for another
				}
			}))
			require.Equal(t, 1, ends)
			require.Equal(t, uint64(1), l.Stats().Drained)
		})
	}
}

// Raw connections that leave by themselves cost a slow Drain no time.
func TestDrainOfSocketsThatLeave(t *testing.T) {
	for name, lim := range rawLimits() {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l := listener.Throttle(inner, lim)
			defer l.Close()
			var conns []net.Conn
			for range 5 {
				dial(t, l.Addr())
				conns = append(conns, accept(t, l))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			drained := make(chan error, 1)
			ended := make(chan net.Conn, 9)
			go func() { drained <- l.Drain(ctx, 0.001, func(c net.Conn) { ended <- c }) }()
			<-ended
			for _, c := range conns {
				require.NoError(t, c.Close())
			}
			require.NoError(t, <-drained)
			require.Empty(t, ended)
		})
	}
}

// Rebalance has told one; Drain ends it all the same.
func TestDrainAfterRebalanceOfSockets(t *testing.T) {
	drainAfterRebalance(t, "tcp", "127.0.0.1:0")
}

func drainAfterRebalance(t *testing.T, network, address string) {
	inner, err := net.Listen(network, address)
	require.NoError(t, err)
	l := listener.Throttle(inner, listener.Limits{})
	defer l.Close()
	var clients []net.Conn
	for range 3 {
		clients = append(clients, dial(t, l.Addr()))
		accept(t, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan struct{}, 9)
	balanced := make(chan error, 1)
	go func() {
		balanced <- l.Rebalance(ctx, 1e6, func() int { return 2 }, func(net.Conn) { told <- struct{}{} })
	}()
	<-told
	cancel()
	require.ErrorIs(t, <-balanced, context.Canceled)
	require.NoError(t, l.Drain(t.Context(), 1e6, nil))
	require.Empty(t, told)
	require.Equal(t, uint64(3), l.Stats().Drained)
	for _, c := range clients {
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
}

// Raw connections that have left are no more part of this replica's share.
func TestRebalanceOfSocketsThatLeave(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := listener.Throttle(inner, listener.Limits{})
	defer l.Close()
	for i := range 5 {
		dial(t, l.Addr())
		c := accept(t, l)
		if i < 3 {
			require.NoError(t, c.Close())
		} else {
			defer c.Close()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	asks := 0
	err = l.Rebalance(ctx, 1e6, func() int {
		if asks++; asks == 20 {
			cancel()
		}
		return 2
	}, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, l.Stats().Drained)
}
