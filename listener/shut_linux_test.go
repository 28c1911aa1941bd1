package listener_test

import (
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// What Merge has in hand when a gate that refuses is shut is reset, without an Accept.
func TestShutResetsWhatMergeHasInHand(t *testing.T) {
	for name, stack := range stacks {
		t.Run(name, func(t *testing.T) {
			g := reserve(t, "tcp", "127.0.0.1:0")
			private, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			top := stack(g)
			m := listener.Merge(private, top)
			defer m.Close()
			require.NoError(t, g.Open(t.Context()))
			dial(t, private.Addr())
			accept(t, m)
			client := dial(t, g.Addr())
			require.Eventually(t, func() bool { return g.Stats().Accepted == 1 }, 10*time.Second, time.Millisecond)
			require.NoError(t, g.Shut())
			require.NoError(t, client.SetReadDeadline(time.Now().Add(10*time.Second)))
			isReset(t, client)
			require.Eventually(t, func() bool { return g.Stats() == listener.GateStats{Reset: 1, Openings: 1} }, 10*time.Second, time.Millisecond)
			if l, ok := top.(*listener.Throttled); ok {
				require.Eventually(t, func() bool { return l.Stats().Open == 0 && l.Stats().Accepted == 0 }, 10*time.Second, time.Millisecond)
			}
		})
	}
}

// Between Shut and Open no connection comes out of Accept, whatever is under way: a
// connection of the opening before is reset.
func TestNothingComesOutOfAShutGate(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	private, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := listener.Merge(private, listener.Throttle(g, listener.Limits{MaxPending: 100}))
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c, err := net.Dial("tcp", g.Addr().String()); err == nil {
					_ = c.(*net.TCPConn).SetLinger(0)
					_ = c.Close()
				}
			}
		})
	}
	for range 300 {
		require.NoError(t, g.Open(t.Context()))
		got := acceptLater(m)
		a := <-got
		require.NoError(t, a.err)
		_ = a.Close()
		require.NoError(t, g.Shut())
		got = acceptLater(m) // begins after Shut
		for range 50 {
			runtime.Gosched()
		}
		select {
		case a := <-got:
			require.FailNow(t, "accepted after Shut", "%v", a.RemoteAddr())
		default:
		}
		require.NoError(t, g.Open(t.Context()))
		a = <-got
		require.NoError(t, a.err)
		_ = a.Close()
		require.NoError(t, g.Shut())
	}
	close(stop)
	clients.Wait()
	require.NoError(t, m.Close())
}
