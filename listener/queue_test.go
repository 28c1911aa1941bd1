package listener_test

import (
	"context"
	"math"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

func TestQueueIsAsLongAsPatience(t *testing.T) {
	queue := func(lim listener.Limits) (n int) {
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			n = queueLength(t, inner)
		})
		return n
	}
	require.Equal(t, 75, queue(listener.Limits{Rate: 150}))
	require.Equal(t, 150, queue(listener.Limits{Rate: 150, Patience: 2 * time.Second}))
	require.Equal(t, 16, queue(listener.Limits{Rate: 1}))
	require.Equal(t, 4096, queue(listener.Limits{Rate: 150, Patience: -1}))
	require.Equal(t, 4096, queue(listener.Limits{Rate: 150, Overflow: listener.Reset}))
	require.Equal(t, 4096, queue(listener.Limits{MaxPending: 5})) // parked clients must not be dropped
	require.Equal(t, 4096, queue(listener.Limits{Rate: math.Inf(1)}))
}

// queueLength fills the queue.
func queueLength(t *testing.T, l *listenertest.Listener) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for {
		c, err := l.Dial(ctx)
		if err != nil {
			return l.Queued()
		}
		t.Cleanup(func() { _ = c.Close() })
		if l.Queued() > 4096 {
			return -1
		}
		if l.Queued() == 4096 {
			return 4096
		}
	}
}

// Clients of a parked gate wait in a queue of full length until it is opened, and
// again once it is shut.
func TestGateSizesTheQueueAtEachOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &sizes{Listener: listenertest.New()}
		g := listener.NewGate(inner)
		l := listener.Throttle(g, listener.Limits{Rate: 150})
		require.Empty(t, inner.all)
		require.NoError(t, g.Open(t.Context()))
		require.Equal(t, []int{75}, inner.all)
		require.NoError(t, g.Shut())
		require.Equal(t, []int{75, math.MaxInt32}, inner.all)
		l.SetLimits(listener.Limits{Rate: 300})
		require.Len(t, inner.all, 2)
		require.NoError(t, g.Open(t.Context()))
		l.SetLimits(listener.Limits{Rate: 600})
		l.SetLimits(listener.Limits{MaxPending: 1})
		require.Equal(t, []int{75, math.MaxInt32, 150, 300, math.MaxInt32}, inner.all)
		l.SetLimits(listener.Limits{Rate: 150})
		require.NoError(t, l.Close()) // others may have the socket too, and park clients at it
		require.Equal(t, []int{75, math.MaxInt32, 150, 300, math.MaxInt32, 75, math.MaxInt32}, inner.all)

		inner = &sizes{Listener: listenertest.New()}
		g = listener.NewGate(inner)
		l = listener.Throttle(g, listener.Limits{MaxPending: 1})
		require.NoError(t, g.Open(t.Context()))
		require.NoError(t, l.Close())
		require.Empty(t, inner.all) // may have been chosen

		inner = &sizes{Listener: listenertest.New()}
		l = listener.Throttle(inner, listener.Limits{MaxPending: 1})
		l.SetLimits(listener.Limits{MaxConns: 1})
		require.Empty(t, inner.all) // may have been chosen
		l.SetLimits(listener.Limits{Rate: 100})
		l.SetLimits(listener.Limits{})
		require.Equal(t, []int{50, math.MaxInt32}, inner.all)
		require.NoError(t, l.Close())
	})
}

// Of two SetLimits at once the queue is that of the one that is in force.
func TestQueueAgreesWithLimits(t *testing.T) {
	inner := &sizes{Listener: listenertest.New()}
	l := listener.Throttle(inner, listener.Limits{})
	defer l.Close()
	for range 1000 {
		var both sync.WaitGroup
		for _, r := range []float64{100, 200} {
			both.Go(func() { l.SetLimits(listener.Limits{Rate: r}) })
		}
		both.Wait()
		require.EqualValues(t, l.Limits().Rate/2, inner.all[len(inner.all)-1])
	}
}

// sizes notes what its queue is made.
type sizes struct {
	net.Listener
	all []int
}

func (s *sizes) SetBacklog(n int) error {
	s.all = append(s.all, n)
	return nil
}
