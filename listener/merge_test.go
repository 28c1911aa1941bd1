package listener_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

func TestMergePrefersEarlierListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private, public := listenertest.New(), listenertest.New()
		m := listener.Merge(private, public)
		defer m.Close()
		for range 100 {
			connect(t, public)
		}
		accept(t, m)
		for range 50 {
			mine := connect(t, private)
			synctest.Wait()
			require.Equal(t, mine.LocalAddr(), accept(t, m).RemoteAddr())
			accept(t, m)
		}
	})
}

func TestMergeHoldsOneOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := listenertest.New(), listenertest.New()
		m := listener.Merge(a, b)
		for range 5 {
			connect(t, a)
			connect(t, b)
		}
		synctest.Wait()
		require.Equal(t, 10, a.Queued()+b.Queued()) // nothing before the first Accept
		accept(t, m)
		synctest.Wait()
		require.GreaterOrEqual(t, a.Queued()+b.Queued(), 7)
		require.NoError(t, m.Close())
		synctest.Wait()
	})
}

func TestCloseResetsWhatMergeHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := listenertest.New(), listenertest.New()
		m := listener.Merge(a, b)
		connect(t, a)
		accept(t, m)
		clients := []net.Conn{connect(t, a), connect(t, b)}
		synctest.Wait()
		require.Zero(t, a.Queued()+b.Queued())
		require.NoError(t, m.Close())
		for _, c := range clients {
			isReset(t, c)
		}
	})
}

func TestOneDeadLegLeavesTheOthers(t *testing.T) {
	errGone := errors.New("gone")
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		last := &scripted{Listener: listenertest.New()}
		m := listener.Merge(&scripted{Listener: listenertest.New(), errs: []error{errGone}}, inner, last)
		defer m.Close()
		got := acceptLater(m)
		pending(t, got)
		require.ErrorIs(t, m.Err(), errGone)
		client := connect(t, inner)
		require.Equal(t, client.LocalAddr(), (<-got).RemoteAddr())

		client = connect(t, inner) // in the merge's hands as its leg dies
		synctest.Wait()
		require.NoError(t, inner.Close())
		require.NoError(t, last.Close())
		synctest.Wait()
		require.Equal(t, client.LocalAddr(), accept(t, m).RemoteAddr())
		_, err := m.Accept()
		require.ErrorIs(t, err, errGone)
		require.ErrorIs(t, err, net.ErrClosed)
		require.Equal(t, err, m.Err())
	})
}

func TestCloseWakesMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := listener.Merge(listenertest.New(), listener.NewGate(listenertest.New()))
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				_, err := m.Accept()
				require.ErrorIs(t, err, net.ErrClosed)
			})
		}
		synctest.Wait()
		require.NoError(t, m.Close())
		require.NoError(t, m.Close())
		waiting.Wait()
		_, err := m.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		require.NoError(t, m.Err())
	})
}

// Without a goroutine of its own, and with the same end.
func TestMergeOfOne(t *testing.T) {
	errGone := errors.New("gone")
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		s := &scripted{Listener: inner}
		m := listener.Merge(s)
		connect(t, inner)
		connect(t, inner)
		accept(t, m)
		synctest.Wait()
		require.Equal(t, 1, inner.Queued()) // nothing is in hand
		require.NoError(t, m.Err())
		s.errs = []error{errGone}
		for range 3 { // dead is dead
			_, err := m.Accept()
			require.ErrorIs(t, err, errGone)
		}
		require.ErrorIs(t, m.Err(), errGone)
		require.NoError(t, m.Close())
		_, err := m.Accept()
		require.ErrorIs(t, err, net.ErrClosed)

		s = &scripted{Listener: listenertest.New()}
		m = listener.Merge(s)
		a, b := acceptLater(m), acceptLater(m)
		synctest.Wait()
		require.NoError(t, s.Close()) // by somebody else, under both
		require.ErrorIs(t, (<-a).err, net.ErrClosed)
		require.ErrorIs(t, (<-b).err, net.ErrClosed)
		require.ErrorIs(t, m.Err(), net.ErrClosed)
		require.NoError(t, m.Close())
	})
}

// A listener that is never served leaves nothing behind.
func TestMergeStartsAtTheFirstAccept(t *testing.T) {
	m := listener.Merge(listenertest.New(), listenertest.New())
	require.NoError(t, m.Close())
	_, err := m.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestMergeAddrs(t *testing.T) {
	a, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := listenertest.New()
	m := listener.Merge(a, b)
	require.Equal(t, []net.Addr{a.Addr(), b.Addr()}, m.Addrs())
	require.Equal(t, a.Addr(), m.Addr())
	require.NoError(t, m.Close())
}

func TestMergePanics(t *testing.T) {
	require.PanicsWithValue(t, "listener: Merge without listeners", func() { listener.Merge() })
	require.PanicsWithValue(t, "listener: Merge with nil listener", func() { listener.Merge(nil) })
}

// While the public leg waits for a token, for a place, or out of descriptors, the
// private one is served.
func TestPrivateLegIsNeverHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private, public := listenertest.New(), listenertest.New()
		m := listener.Merge(private, listener.Throttle(public, listener.Limits{MaxPending: 1, PendingTimeout: -1}))
		defer m.Close()
		for range 10 {
			connect(t, public)
		}
		accept(t, m)
		for range 100 {
			mine := connect(t, private)
			require.Equal(t, mine.LocalAddr(), accept(t, m).RemoteAddr())
		}
	})
}
