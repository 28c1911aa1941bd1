package listener_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// What Accept has in hand as a Drain begins comes out of it and is ended by it, and Drain
// does not return before. With nobody to Accept it again afterwards, Accept waits.
func TestDrainOfAClientInHand(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"listener": func(l net.Listener) net.Listener { return l },
		"gate":     func(l net.Listener) net.Listener { return listener.NewGate(l) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := listenertest.New()
				below := wrap(inner)
				l := listener.Throttle(below, listener.Limits{MaxConns: 2})
				defer l.Close()
				if g, ok := below.(*listener.Gate); ok {
					require.NoError(t, g.Open(t.Context()))
				}
				connect(t, inner)
				accept(t, l)
				got := acceptLater(l)
				synctest.Wait() // inside the inner Accept
				l.SetLimits(listener.Limits{MaxConns: 1})
				second := connect(t, inner)
				pending(t, got)
				require.Zero(t, inner.Queued(), "it is in hand")
				ends := make(chan net.Conn, 9)
				begin := time.Now()
				drained := make(chan error, 1)
				go func() { drained <- l.Drain(t.Context(), 1, func(c net.Conn) { ends <- c }) }()
				first := <-ends
				time.Sleep(time.Minute)
				require.Empty(t, ends)
				require.NoError(t, first.Close())
				c := <-ends
				require.Equal(t, second.LocalAddr(), c.RemoteAddr())
				require.Equal(t, c, (<-got).Conn)
				require.NoError(t, c.Close())
				require.NoError(t, <-drained)
				require.Equal(t, time.Minute, time.Since(begin))
				pending(t, acceptLater(l))
			})
		})
	}
}

// And a client whose address is waited for.
func TestDrainOfASilentClient(t *testing.T) {
	behindProxy(t, listener.Limits{PerSource: 5}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		silent := connect(t, inner)
		got := acceptLater(l)
		synctest.Wait()
		require.Zero(t, inner.Queued())
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(t.Context(), 1, nil) }()
		time.Sleep(5 * time.Second)
		pending(t, drained)
		_, err := silent.Write([]byte{7})
		require.NoError(t, err)
		require.NoError(t, (<-got).err)
		require.NoError(t, <-drained)
		require.InDelta(t, 5, time.Since(begin).Seconds(), 0.1)
		require.Equal(t, uint64(1), l.Stats().Drained)
	})
}

// After a Drain Accept neither accepts nor fails until Close, however often it is called.
func TestAcceptAfterDrain(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := listener.Throttle(inner, listener.Limits{MaxConns: 5})
	first := acceptLater(l)
	require.NoError(t, l.Drain(t.Context(), 1, nil))
	require.NoError(t, l.Drain(t.Context(), 1, nil), "another does nothing")
	second := acceptLater(l)
	_, err = net.DialTimeout("tcp", inner.Addr().String(), 10*time.Second)
	require.Error(t, err)
	require.Empty(t, first)
	require.Empty(t, second)
	require.Equal(t, listener.Closed, l.State())
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	for _, got := range []<-chan accepted{first, second} {
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
	}
}

// Also if no connection is open, and the one in hand waits for a token.
func TestDrainOfAClientThatWaitsForAToken(t *testing.T) {
	lim := listener.Limits{MaxConns: 9, Rate: 0.1, Exempt: func(net.Addr) bool { return false }}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		require.NoError(t, accept(t, l).Close())
		connect(t, inner)
		got := acceptLater(l)
		synctest.Wait()
		require.Zero(t, inner.Queued(), "it is in hand")
		begin := time.Now()
		require.NoError(t, l.Drain(t.Context(), 1, nil))
		require.InDelta(t, 10, time.Since(begin).Seconds(), 0.1)
		require.NoError(t, (<-got).err)
		require.Equal(t, uint64(1), l.Stats().Drained)
	})
}

// An Accept that waits for a token holds nothing.
func TestDrainWhileAcceptWaitsForAToken(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 9, Rate: 1e-9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, l.Drain(t.Context(), 1, nil))
		require.Zero(t, time.Since(begin))
		pending(t, got)
	})
}

// A client whose address is waited for while no Accept is under way is in hand, too.
func TestDrainOfASilentClientBetweenAccepts(t *testing.T) {
	behindProxy(t, listener.Limits{PerSource: 5}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		silent := connect(t, inner)
		got := acceptLater(l)
		synctest.Wait()
		sends(t, inner, 1)
		require.NoError(t, (<-got).err)
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(t.Context(), 1, nil) }()
		time.Sleep(5 * time.Second)
		pending(t, drained)
		require.Zero(t, l.Stats().Open)
		_, err := silent.Write([]byte{7})
		require.NoError(t, err)
		synctest.Wait()
		accept(t, l)
		require.NoError(t, <-drained)
		require.Equal(t, uint64(2), l.Stats().Drained)
	})
}
