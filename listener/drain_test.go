package listener_test

import (
	"context"
	"errors"
	"io"
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

func TestDrainOfBadInput(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		for _, perSecond := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
			require.ErrorIs(t, l.Drain(t.Context(), perSecond, nil), listener.ErrPace)
			require.ErrorIs(t, l.Rebalance(t.Context(), perSecond, func() int { return 0 }, nil), listener.ErrPace)
		}
		require.Panics(t, func() { _ = l.Rebalance(t.Context(), 1, nil, nil) })
		require.Equal(t, listener.Opened, l.State())
		require.Equal(t, 1, l.Stats().Open)
		connect(t, inner)
		accept(t, l)
		require.NoError(t, l.Close())
		require.ErrorIs(t, l.Drain(t.Context(), 1, nil), net.ErrClosed)
		require.ErrorIs(t, l.Rebalance(t.Context(), 1, func() int { return 0 }, nil), net.ErrClosed)
		require.Equal(t, listener.Done, l.State())
		require.Equal(t, 2, l.Stats().Open)
		require.NoError(t, c.Close())
	})
}

// Under every kind of limit Drain ends all connections, at its pace.
func TestDrainKeepsItsPace(t *testing.T) {
	for name, lim := range map[string]listener.Limits{
		"none": {}, "MaxPending": {MaxPending: 1000}, "Rate": {Rate: 1e9}, "MaxConns": {MaxConns: 1000},
		"exempt": {MaxConns: 1, Exempt: func(net.Addr) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
				for range 101 {
					connect(t, inner)
					accept(t, l)
				}
				var mu sync.Mutex
				var ended []time.Duration
				begin := time.Now()
				require.NoError(t, l.Drain(t.Context(), 10, func(c net.Conn) {
					mu.Lock()
					ended = append(ended, time.Since(begin))
					mu.Unlock()
					_ = c.Close()
				}))
				require.Equal(t, 10*time.Second, time.Since(begin))
				require.Len(t, ended, 101)
				for i, at := range ended {
					require.Equal(t, time.Duration(i)*100*time.Millisecond, at)
				}
				require.Equal(t, uint64(101), l.Stats().Drained)
				require.Zero(t, l.Stats().Open)
				require.NoError(t, l.Drain(t.Context(), 1, nil)) // nothing to do
			})
		})
	}
}

// Raw sockets as well, and a queue that is in the kernel.
func TestDrainOfSockets(t *testing.T) {
	for name, lim := range map[string]listener.Limits{"none": {}, "wrapped": {MaxConns: 100}, "Raw": {MaxPending: 100, Raw: true}} {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l := listener.Throttle(inner, lim)
			defer l.Close()
			var clients []net.Conn
			for range 30 {
				clients = append(clients, dial(t, l.Addr()))
				accept(t, l)
			}
			require.NoError(t, clients[0].Close())
			got := acceptLater(l)
			require.NoError(t, l.Drain(t.Context(), math.Inf(1), nil))
			for _, c := range clients[1:] {
				_, err := c.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
			}
			_, err = net.Dial("tcp", l.Addr().String())
			require.Error(t, err, "clients are refused")
			require.Equal(t, listener.Closed, l.State())
			require.Empty(t, got, "Accept goes on to wait")
			require.NoError(t, l.Close())
			require.ErrorIs(t, (<-got).err, net.ErrClosed)
		})
	}
}

func TestDrainIsCutByItsContext(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 100}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		var clients []net.Conn
		for range 50 {
			clients = append(clients, connect(t, inner))
			accept(t, l)
		}
		errLate := errors.New("late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errLate)
		defer cancel()
		begin := time.Now()
		err := l.Drain(ctx, 1, func(net.Conn) {}) // ends nothing
		require.Equal(t, 10*time.Second, time.Since(begin))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errLate)
		require.ErrorContains(t, err, "50 connections were cut")
		require.Equal(t, uint64(50), l.Stats().Drained)
		for _, c := range clients {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		require.Zero(t, l.Stats().Open)
	})
	throttled(t, listener.Limits{MaxConns: 100}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, l.Drain(ended, 1, nil), context.Canceled)
		require.Zero(t, l.Stats().Open)
	})
	// An end that hangs holds up nobody once ctx has ended.
	throttled(t, listener.Limits{MaxConns: 100}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		hang := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, l.Drain(ctx, 1, func(c net.Conn) { _ = c.Close(); <-hang }), "none was cut")
		close(hang)
	})
}

func TestOneDrainAtATime(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 100}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 3 {
			connect(t, inner)
			accept(t, l)
		}
		balanced, drained := make(chan error, 1), make(chan error, 1)
		go func() { balanced <- l.Rebalance(t.Context(), 1, func() int { return 9 }, nil) }()
		synctest.Wait()
		require.ErrorIs(t, l.Rebalance(t.Context(), 1, func() int { return 9 }, nil), listener.ErrDraining)
		go func() { drained <- l.Drain(t.Context(), 1, nil) }()
		synctest.Wait()
		require.ErrorIs(t, <-balanced, listener.ErrDraining) // gives way
		require.ErrorIs(t, l.Drain(t.Context(), 1, nil), listener.ErrDraining)
		require.ErrorIs(t, l.Rebalance(t.Context(), 1, func() int { return 9 }, nil), listener.ErrDraining)
		require.Equal(t, listener.Closed, l.State())
		require.NoError(t, <-drained)
		require.Zero(t, l.Stats().Open)

		// Close ends it, and leaves connections alone.
		l2 := listener.Throttle(listenertest.New(), listener.Limits{})
		_ = l2.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(inner, listener.Limits{MaxConns: 100})
		connect(t, inner)
		connect(t, inner)
		accept(t, l)
		accept(t, l)
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(t.Context(), 0.001, nil) }()
		synctest.Wait()
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-drained, net.ErrClosed)
		require.Equal(t, 1, l.Stats().Open)
	})
}

// Over a gate Drain shuts it; the clients of a gate that parks wait for the next Open.
func TestDrainShutsTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(inner)
		l := listener.Throttle(g, listener.Limits{MaxConns: 9})
		defer l.Close()
		require.Equal(t, listener.Closed, l.State())
		require.NoError(t, g.Open(t.Context()))
		require.Equal(t, listener.Opened, l.State())
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		require.NoError(t, l.Drain(t.Context(), 1, nil))
		require.Equal(t, listener.Closed, g.State())
		waiting := connect(t, inner)
		pending(t, got)
		require.NoError(t, g.Open(t.Context()))
		require.Equal(t, listener.Opened, l.State())
		require.Equal(t, waiting.LocalAddr(), (<-got).RemoteAddr())
	})
}

// Connections that leave by themselves cost no time, and those that come while it runs
// are ended as well.
func TestDrainCountsWhatIsThere(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 100}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		var conns []net.Conn
		for range 10 {
			connect(t, inner)
			conns = append(conns, accept(t, l))
		}
		drained := make(chan error, 1)
		begin := time.Now()
		go func() { drained <- l.Drain(t.Context(), 1, func(net.Conn) {}) }()
		time.Sleep(1500 * time.Millisecond)
		for _, c := range conns {
			require.NoError(t, c.Close())
		}
		require.NoError(t, <-drained)
		require.Equal(t, 1500*time.Millisecond, time.Since(begin))
	})
}

func TestLeaving(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 100}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		require.Nil(t, listener.Leaving(t.Context()))
		connect(t, inner)
		c := accept(t, l)
		ctx := listener.ConnContext(t.Context(), embeds{c})
		leaving := listener.Leaving(ctx)
		pending(t, leaving)
		go func() {
			<-leaving
			_ = c.Close()
		}()
		require.NoError(t, l.Drain(t.Context(), 1, func(net.Conn) {}))
		<-listener.Leaving(ctx) // also after the end
	})
}

func TestMaxAge(t *testing.T) {
	const age, n = 10 * time.Minute, 1000
	throttled(t, listener.Limits{MaxAge: age, AgeGrace: time.Second}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		begin := time.Now()
		var told, ended []time.Duration
		var mu sync.Mutex
		var clients sync.WaitGroup
		for range n {
			client := connect(t, inner)
			leaving := listener.Leaving(listener.ConnContext(t.Context(), accept(t, l)))
			clients.Go(func() {
				<-leaving
				mu.Lock()
				told = append(told, time.Since(begin))
				mu.Unlock()
				_, err := client.Read(make([]byte, 1))
				mu.Lock()
				defer mu.Unlock()
				require.ErrorIs(t, err, io.EOF)
				ended = append(ended, time.Since(begin))
			})
		}
		clients.Wait()
		require.Less(t, told[0], age/2+age/32)
		require.GreaterOrEqual(t, told[0], age/2)
		require.LessOrEqual(t, told[n-1], age+age/100)
		require.InDelta(t, 0.75*age.Seconds(), told[n/2].Seconds(), 0.05*age.Seconds(), "spread evenly")
		for i := range ended {
			require.InDelta(t, (told[i] + time.Second).Seconds(), ended[i].Seconds(), 0.001)
		}
		synctest.Wait() // a client sees the end before its place is free
		require.Zero(t, l.Stats().Open)
		require.Equal(t, uint64(n), l.Stats().Drained)
	})
}

// With End a connection ends in its own protocol; without time to spare it is left alone.
func TestMaxAgeEnds(t *testing.T) {
	ends := make(chan net.Conn, 1)
	lim := listener.Limits{MaxAge: time.Minute, AgeGrace: -1, End: func(c net.Conn) { ends <- c }}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		ends = make(chan net.Conn, 1)
		client := connect(t, inner)
		c := accept(t, l)
		require.Equal(t, c, <-ends)
		time.Sleep(time.Hour)
		require.Equal(t, 1, l.Stats().Open)
		require.NoError(t, c.Close())
		_ = client

		// A limit that is set later is for those that are there, too.
		l.SetLimits(listener.Limits{MaxConns: 9})
		connect(t, inner)
		c = accept(t, l)
		time.Sleep(time.Hour)
		l.SetLimits(lim)
		require.Equal(t, c, <-ends)
		require.NoError(t, c.Close())
	})
}

func TestRebalanceShedsTheExcess(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 1000}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 100 {
			connect(t, inner)
			accept(t, l)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		balanced := make(chan error, 1)
		go func() { balanced <- l.Rebalance(ctx, 2, func() int { return 40 }, nil) }()
		time.Sleep(10*time.Second + time.Millisecond)
		require.InDelta(t, 80, l.Stats().Open, 1)
		time.Sleep(time.Minute)
		require.Equal(t, 40, l.Stats().Open)
		for range 5 {
			connect(t, inner)
			accept(t, l)
		}
		time.Sleep(time.Minute)
		require.Equal(t, 40, l.Stats().Open)
		require.ErrorIs(t, <-balanced, context.DeadlineExceeded)
		require.Equal(t, 40, l.Stats().Open)
	})
}
