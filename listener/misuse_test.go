package listener_test

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// Whoever calls Open, Shut and Close at the same time gets one of the orders in
// which they could have been called.
func TestOpenShutAndCloseAtOnce(t *testing.T) {
	for range 100 {
		g := listener.NewGate(listenertest.New())
		got := acceptLater(g)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { require.NoError(t, g.Open(t.Context())) })
		}
		all.Wait()
		require.Equal(t, listener.GateStats{Openings: 1}, g.Stats())
		for range 4 {
			all.Go(func() { require.NoError(t, g.Shut()) })
			all.Go(func() { require.NoError(t, g.Open(t.Context())) })
		}
		all.Wait()
		require.LessOrEqual(t, g.Stats().Openings, uint64(5))
		for range 4 {
			all.Go(func() { require.NoError(t, g.Close()) })
			all.Go(func() {
				if err := g.Open(t.Context()); err != nil {
					require.ErrorIs(t, err, net.ErrClosed)
				}
			})
			all.Go(func() {
				if err := g.Shut(); err != nil {
					require.ErrorIs(t, err, net.ErrClosed)
				}
			})
		}
		all.Wait()
		require.Equal(t, listener.Done, g.State())
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
	}
}

// What was accepted while nothing was counted stays uncounted, and what was counted
// is taken out when nothing is any more.
func TestSetLimitsFromNoneToOneAndBack(t *testing.T) {
	throttled(t, listener.Limits{}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 5 {
			connect(t, inner)
		}
		before := accept(t, l)
		require.False(t, listener.Admit(before))
		l.SetLimits(listener.Limits{MaxPending: 1, MaxConns: 1, PerSource: 1, PendingTimeout: -1})
		counted := accept(t, l)
		got := acceptLater(l)
		pending(t, got)
		require.NoError(t, before.Close()) // makes no room
		pending(t, got)
		require.Equal(t, 1, l.Stats().Open)

		l.SetLimits(listener.Limits{})
		free := <-got
		require.NoError(t, free.err)
		defer free.Close()
		require.Equal(t, 1, l.Stats().Pending)
		l.SetLimits(listener.Limits{MaxPending: 1, PendingTimeout: -1})
		got = acceptLater(l)
		pending(t, got) // counted is still pending
		require.True(t, listener.Admit(counted))
		last := <-got
		require.NoError(t, last.err)
		require.NoError(t, last.Close())
		require.NoError(t, counted.Close())
		require.Zero(t, l.Stats().Open)
		require.Zero(t, l.Stats().Pending)
	})
}

// Of many Accepts one waits for a client: the others would take theirs out of the
// queue only to wait for room with them.
func TestOneAcceptAtATime(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1, PendingTimeout: -1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _, _ = l.Accept() })
		}
		synctest.Wait()
		for range 3 {
			connect(t, inner)
		}
		synctest.Wait()
		require.Equal(t, 2, inner.Queued())
		require.NoError(t, l.Close())
		all.Wait()
	})
}

// Admit at the wrong time, or once more, frees no place that is another's.
func TestAdmitOfWhatIsGone(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1, PendingTimeout: -1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		from(t, inner, "192.0.2.1", 1)
		gone := accept(t, l)
		require.NoError(t, gone.Close())
		again := from(t, inner, "192.0.2.1", 1) // the same address
		accept(t, l)
		require.True(t, listener.Admit(gone))
		require.True(t, listener.Admit(gone))
		require.Equal(t, 1, l.Stats().Pending)
		require.True(t, l.AdmitAddr(again.LocalAddr())) // the one that is there
		require.Zero(t, l.Stats().Pending)
		require.False(t, l.AdmitAddr(again.LocalAddr()))
		require.NoError(t, l.Close())
		require.True(t, listener.Admit(gone)) // and after Close
	})
}

// Shut lets an Accept of each kind of gate go on waiting, and Open go on.
func TestShutUnderAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(inner)
		defer g.Close()
		l := listener.Throttle(g, listener.Limits{MaxPending: 1})
		m := listener.Merge(listenertest.New(), l)
		defer m.Close()
		require.NoError(t, g.Open(t.Context()))
		got := acceptLater(m)
		for range 10 {
			synctest.Wait()
			require.NoError(t, g.Shut())
			synctest.Wait()
			require.NoError(t, g.Open(t.Context()))
		}
		require.NoError(t, g.Shut())
		client := connect(t, inner)
		pending(t, got)
		require.NoError(t, g.Open(t.Context()))
		require.Equal(t, client.LocalAddr(), (<-got).RemoteAddr())
		require.Zero(t, l.Stats().AcceptErrors)
	})
}
