package listener_test

import (
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// stacks are the ways in which a gate is below a Merged.
var stacks = map[string]func(*listener.Gate) net.Listener{
	"gate":     func(g *listener.Gate) net.Listener { return g },
	"throttle": func(g *listener.Gate) net.Listener { return listener.Throttle(g, listener.Limits{MaxPending: 9}) },
	"rate":     func(g *listener.Gate) net.Listener { return listener.Throttle(g, listener.Limits{Rate: 1e6}) },
	"two": func(g *listener.Gate) net.Listener {
		return listener.Throttle(listener.Throttle(g, listener.Limits{MaxPending: 9}), listener.Limits{MaxConns: 9})
	},
}

// What Merge has in hand when a parked gate is shut is for the next Open.
func TestShutKeepsWhatMergeHasInHand(t *testing.T) {
	for name, stack := range stacks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				private, inner := listenertest.New(), listenertest.New()
				g := listener.NewGate(inner)
				m := listener.Merge(private, stack(g))
				defer m.Close()
				require.NoError(t, g.Open(t.Context()))
				connect(t, private)
				accept(t, m)
				client := connect(t, inner)
				synctest.Wait()
				require.Zero(t, inner.Queued()) // in hand
				require.NoError(t, g.Shut())
				got := acceptLater(m)
				pending(t, got)
				require.Zero(t, g.Stats().Accepted)
				require.NoError(t, g.Open(t.Context()))
				a := <-got
				require.NoError(t, a.err)
				require.Equal(t, client.LocalAddr(), a.RemoteAddr())
				require.Equal(t, uint64(1), g.Stats().Accepted)
				require.NoError(t, a.Close())
			})
		})
	}
}

// And of a Throttled: a client that waits in its hand, since the limits have become lower.
func TestShutKeepsWhatThrottleHasInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(inner)
		l := listener.Throttle(g, listener.Limits{MaxConns: 2})
		defer l.Close()
		require.NoError(t, g.Open(t.Context()))
		connect(t, inner)
		first := accept(t, l)
		got := acceptLater(l)
		synctest.Wait() // inside the inner Accept
		l.SetLimits(listener.Limits{MaxConns: 1})
		second := connect(t, inner)
		pending(t, got)
		require.Zero(t, inner.Queued())
		require.NoError(t, g.Shut())
		synctest.Wait()
		require.NoError(t, first.Close())
		pending(t, got)
		require.NoError(t, g.Open(t.Context()))
		a := <-got
		require.NoError(t, a.err)
		require.Equal(t, second.LocalAddr(), a.RemoteAddr())
		require.NoError(t, a.Close())
	})
}

func TestMergeTellsOfADeadLeg(t *testing.T) {
	for _, n := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			dies := listenertest.New()
			ls := []net.Listener{dies, listenertest.New()}[:n]
			m := listener.Merge(ls...)
			told := make(chan net.Listener, 9)
			m.OnDead = func(l net.Listener, err error) {
				require.ErrorIs(t, err, net.ErrClosed)
				require.ErrorIs(t, m.Err(), net.ErrClosed) // runs outside of locks
				told <- l
			}
			got := acceptLater(m)
			pending(t, told)
			require.NoError(t, dies.Close())
			require.Equal(t, dies, <-told)
			if n == 1 {
				require.ErrorIs(t, (<-got).err, net.ErrClosed)
				_, err := m.Accept()
				require.ErrorIs(t, err, net.ErrClosed)
			}
			require.NoError(t, m.Close())
			pending(t, told) // Close is no death
		})
	}
}
