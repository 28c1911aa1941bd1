package listener_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// A server that is told to end before it was ready, or after its gate was shut, drains as
// any other: the Accept that waits for the gate to open holds nothing.
func TestDrainOfAShutGate(t *testing.T) {
	for name, open := range map[string]bool{"never open": false, "shut": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := listenertest.New()
				g := listener.NewGate(inner)
				l := listener.Throttle(g, listener.Limits{MaxConns: 9})
				defer l.Close()
				if open {
					require.NoError(t, g.Open(t.Context()))
					connect(t, inner)
					accept(t, l)
				}
				got := acceptLater(l)
				synctest.Wait()
				require.NoError(t, g.Shut())
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				require.NoError(t, l.Drain(ctx, 1, nil))
				pending(t, got)
				require.NoError(t, g.Open(t.Context()))
				client := connect(t, inner)
				require.Equal(t, client.LocalAddr(), (<-got).RemoteAddr())
			})
		})
	}
}

// An Accept of a listener that nothing but Close can wake, such as that of tls.NewListener,
// holds no connection. What it yields later waits for the next Open.
func TestDrainOfAListenerWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(struct{ net.Listener }{inner})
		require.NoError(t, g.Open(t.Context()))
		l := listener.Throttle(g, listener.Limits{MaxConns: 9})
		defer l.Close()
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, l.Drain(ctx, 1, nil))
		late := connect(t, inner)
		pending(t, got)
		require.NoError(t, g.Open(t.Context()))
		require.Equal(t, late.LocalAddr(), (<-got).RemoteAddr())
	})
}

// A gate that is opened while Drain runs lets clients in, which Drain ends as well; for a
// health check the server is leaving all the same.
func TestOpenDuringDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(inner)
		require.NoError(t, g.Open(t.Context()))
		l := listener.Throttle(g, listener.Limits{MaxConns: 9})
		defer l.Close()
		connect(t, inner)
		first := accept(t, l)
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(t.Context(), 1, func(net.Conn) {}) }()
		synctest.Wait()
		require.NoError(t, g.Open(t.Context()))
		require.Equal(t, listener.Opened, g.State())
		require.Equal(t, listener.Closed, l.State())
		connect(t, inner)
		second := accept(t, l)
		leaving := listener.Leaving(listener.ConnContext(t.Context(), second))
		<-leaving
		require.NoError(t, first.Close())
		require.NoError(t, second.Close())
		require.NoError(t, <-drained)
		require.Equal(t, listener.Opened, l.State())
	})
}

// A connection in the hand of a Merged is the server's to finish: it comes out of Accept
// after Drain has shut the gate, and Drain ends it.
func TestDrainOfWhatMergeHasInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, private := listenertest.New(), listenertest.New()
		g := listener.NewGate(inner)
		require.NoError(t, g.Open(t.Context()))
		l := listener.Throttle(g, listener.Limits{MaxConns: 9})
		m := listener.Merge(private, l)
		defer m.Close()
		connect(t, private)
		accept(t, m) // the goroutines run
		client := connect(t, inner)
		synctest.Wait()
		require.Zero(t, inner.Queued(), "it is in hand")
		ends := make(chan net.Conn, 9)
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(t.Context(), 1, func(c net.Conn) { ends <- c }) }()
		synctest.Wait()
		require.Equal(t, listener.Closed, g.State())
		c := accept(t, m)
		require.Equal(t, client.LocalAddr(), c.RemoteAddr())
		require.Equal(t, c, <-ends)
		require.NoError(t, c.Close())
		require.NoError(t, <-drained)
	})
}

// The pace holds after a quiet time as well: what was not ended then is not caught up.
func TestDrainCatchesNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(inner)
		require.NoError(t, g.Open(t.Context()))
		l := listener.Throttle(g, listener.Limits{MaxConns: 9})
		defer l.Close()
		connect(t, inner)
		first := accept(t, l)
		ends := make(chan time.Time, 9)
		drained := make(chan error, 1)
		go func() {
			drained <- l.Drain(t.Context(), 1, func(c net.Conn) {
				ends <- time.Now()
				if c != first {
					_ = c.Close()
				}
			})
		}()
		time.Sleep(time.Minute)
		<-ends
		require.NoError(t, g.Open(t.Context()))
		for range 5 {
			connect(t, inner)
			accept(t, l)
		}
		at := <-ends
		for range 4 {
			next := <-ends
			require.WithinRange(t, next, at.Add(900*time.Millisecond), at.Add(1100*time.Millisecond))
			at = next
		}
		require.NoError(t, first.Close())
		require.NoError(t, <-drained)
	})
}

// Any number of Accepts may wait at a gate over a listener without deadlines.
func TestAcceptsOfAListenerWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(struct{ net.Listener }{inner})
		defer g.Close()
		require.NoError(t, g.Open(t.Context()))
		first, second, third := acceptLater(g), acceptLater(g), acceptLater(g)
		synctest.Wait()
		require.NoError(t, g.Shut())
		require.NoError(t, g.Open(t.Context()))
		synctest.Wait()
		connect(t, inner)
		connect(t, inner)
		synctest.Wait()
		require.Equal(t, 2, len(first)+len(second)+len(third))
		require.NoError(t, g.Close())
		errs := 0
		for _, got := range []<-chan accepted{first, second, third} {
			if (<-got).err != nil {
				errs++
			}
		}
		require.Equal(t, 1, errs)
	})
}
