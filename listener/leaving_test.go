package listener_test

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// Leaving is closed when its connection is closed, so that a goroutine that waits for it
// ends; asked for before or after.
func TestLeavingEndsWithItsConnection(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		ctx := listener.ConnContext(t.Context(), c)
		before := listener.Leaving(ctx)
		pending(t, before)
		require.NoError(t, c.Close())
		<-before
		<-listener.Leaving(ctx)
		require.Zero(t, l.Stats().Drained)
	})
}

// A handler that asks after the connection was told to end learns of it at once.
func TestLeavingOfAConnectionThatWasTold(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(t.Context(), 1, func(net.Conn) {}) }()
		synctest.Wait()
		<-listener.Leaving(listener.ConnContext(t.Context(), c))
		require.NoError(t, c.Close())
		require.NoError(t, <-drained)
	})
}

// Close of the Throttled tells nobody: accepted connections live on.
func TestLeavingAtClose(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		leaving := listener.Leaving(listener.ConnContext(t.Context(), c))
		require.NoError(t, l.Close())
		pending(t, leaving)
		require.NoError(t, c.Close())
		<-leaving
	})
}

// Drain returns when the calls of end have.
func TestDrainWaitsForEnds(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		begin := time.Now()
		require.NoError(t, l.Drain(t.Context(), 1, func(c net.Conn) {
			_ = c.Close()
			time.Sleep(time.Minute)
		}))
		require.Equal(t, time.Minute, time.Since(begin))
	})
}

// Calls of end may use the Throttled, and close it.
func TestEndThatCallsBack(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		err := l.Drain(t.Context(), 1, func(c net.Conn) {
			require.Equal(t, 1, l.Stats().Open)
			l.SetLimits(listener.Limits{MaxConns: 5})
			require.Equal(t, listener.Closed, l.State())
			require.ErrorIs(t, l.Drain(t.Context(), 1, nil), listener.ErrDraining)
			require.NoError(t, l.Close())
			_ = c.Close()
		})
		if err != nil { // Close came first
			require.ErrorIs(t, err, net.ErrClosed)
		}
		synctest.Wait()
		require.Zero(t, l.Stats().Open)
	})
}

// The order is random, so that those that came together do not leave together.
func TestDrainInRandomOrder(t *testing.T) {
	const n = 1000
	throttled(t, listener.Limits{MaxConns: n}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		came := make(map[net.Conn]int)
		for i := range n {
			connect(t, inner)
			came[accept(t, l)] = i
		}
		require.InDelta(t, n/2, ascents(drainOrder(t, l, 1000, came)), n/8)
	})
}

func TestDrainOfSocketsInRandomOrder(t *testing.T) {
	const n = 200
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := listener.Throttle(inner, listener.Limits{})
	defer l.Close()
	came := make(map[net.Conn]int)
	for i := range n {
		dial(t, l.Addr())
		came[accept(t, l)] = i
	}
	require.InDelta(t, n/2, ascents(drainOrder(t, l, 500, came)), n/4)
}

// drainOrder drains l, and returns the numbers of its connections in the order of their ends.
func drainOrder(t *testing.T, l *listener.Throttled, perSecond float64, came map[net.Conn]int) (order []int) {
	t.Helper()
	var mu sync.Mutex
	require.NoError(t, l.Drain(t.Context(), perSecond, func(c net.Conn) {
		mu.Lock()
		order = append(order, came[c])
		mu.Unlock()
		_ = c.Close()
	}))
	return order
}

// ascents is how many are greater than the one before: half of a random order.
func ascents(order []int) (n int) {
	for i := 1; i < len(order); i++ {
		if order[i] > order[i-1] {
			n++
		}
	}
	return n
}
