package listener_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// throttled is a Throttled over memory, in a bubble.
func throttled(t *testing.T, lim listener.Limits, f func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(inner, lim)
		defer func() { require.NoError(t, l.Close()) }()
		f(t, inner, l)
	})
}

func from(t *testing.T, l *listenertest.Listener, ip string, port int) net.Conn {
	t.Helper()
	c, err := l.DialFrom(t.Context(), &net.TCPAddr{IP: net.ParseIP(ip), Port: port})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func isReset(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestMaxPendingWaitsForAdmit(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 2}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 5 {
			connect(t, inner)
		}
		a, b := accept(t, l), accept(t, l)
		got := acceptLater(l)
		pending(t, got)
		require.Equal(t, 3, inner.Queued()) // clients wait there and not in our hands
		require.Equal(t, 2, l.Stats().Pending)

		require.True(t, listener.Admit(a))
		require.NoError(t, (<-got).err)
		require.True(t, listener.Admit(a)) // often is as good as once
		got = acceptLater(l)
		pending(t, got)

		require.NoError(t, b.Close())
		require.NoError(t, (<-got).err)
		got = acceptLater(l)
		pending(t, got)
		start := time.Now()
		require.NoError(t, (<-got).err)
		require.Equal(t, 10*time.Second, time.Since(start))
		s := l.Stats()
		require.Equal(t, uint64(5), s.Accepted)
		require.Equal(t, uint64(2), s.PendingExpired)
		require.Equal(t, 1, s.Pending)
		require.Equal(t, 4, s.Open)
	})
}

func TestPendingTimeoutLeavesTheConnectionAlone(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1, PendingTimeout: time.Second}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		client := connect(t, inner)
		server := accept(t, l)
		time.Sleep(time.Hour)
		require.Zero(t, l.Stats().Pending)
		require.Equal(t, uint64(1), l.Stats().PendingExpired)
		_, err := client.Write([]byte("x"))
		require.NoError(t, err)
		_, err = server.Read(make([]byte, 1))
		require.NoError(t, err)
		require.True(t, listener.Admit(server))
		require.NoError(t, server.Close())
		require.Zero(t, l.Stats().Open)
	})
}

func TestPendingForEver(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1, PendingTimeout: -1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		time.Sleep(1000 * time.Hour)
		pending(t, got)
		require.Equal(t, 1, l.Stats().Pending)
		require.NoError(t, l.Close())
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
	})
}

func TestRateIsKept(t *testing.T) {
	throttled(t, listener.Limits{Rate: 100, Patience: time.Hour}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 510 {
			connect(t, inner)
		}
		start := time.Now()
		for range 10 { // the burst
			accept(t, l)
		}
		require.Zero(t, time.Since(start))
		for range 500 {
			accept(t, l)
		}
		require.InDelta(t, 5*time.Second, time.Since(start), float64(20*time.Millisecond))
		require.Zero(t, l.Stats().Open) // nothing to count: no wrapper
	})
}

func TestBurst(t *testing.T) {
	for _, tc := range []struct {
		lim  listener.Limits
		want int
	}{
		{listener.Limits{Rate: 1}, 1},
		{listener.Limits{Rate: 0.5}, 1},
		{listener.Limits{Rate: 100}, 10},
		{listener.Limits{Rate: 100, Burst: 3}, 3},
		{listener.Limits{Rate: 100, Burst: -1}, 1},
	} {
		tc.lim.Overflow = listener.Reset
		throttled(t, tc.lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			for range 20 {
				connect(t, inner)
			}
			got := acceptLater(l)
			n := 0
			for len(got) > 0 || n == 0 {
				synctest.Wait()
				if len(got) == 0 {
					break
				}
				<-got
				n++
				got = acceptLater(l)
				synctest.Wait()
			}
			require.Equal(t, tc.want, n, "%+v", tc.lim)
			require.Equal(t, uint64(20-n), l.Stats().Rejected[listener.OverRate])
		})
	}
}

// Dead connections must cost neither a token nor a place, or nothing but dead
// connections is accepted in a storm.
func TestCorpsesCostNothing(t *testing.T) {
	for _, lim := range []listener.Limits{
		{Rate: 1, Patience: -1},
		{MaxPending: 1},
		{MaxConns: 1},
		{Rate: 1, Overflow: listener.Reset},
	} {
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			for range 100 {
				require.NoError(t, connect(t, inner).Close())
			}
			alive := connect(t, inner)
			start := time.Now()
			c := accept(t, l)
			require.Zero(t, time.Since(start))
			require.Equal(t, alive.LocalAddr(), c.RemoteAddr())
			require.Equal(t, uint64(100), l.Stats().Corpses)
			require.Equal(t, uint64(1), l.Stats().Accepted)
		})
	}
}

// A client that leaves while the token is awaited is as dead as one before.
func TestCorpsesAreSkippedAfterTheWait(t *testing.T) {
	throttled(t, listener.Limits{Rate: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		impatient, patient := connect(t, inner), connect(t, inner)
		got := acceptLater(l)
		pending(t, got)
		require.NoError(t, impatient.Close())
		start := time.Now()
		require.Equal(t, patient.LocalAddr(), (<-got).RemoteAddr())
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestHalfCloseSparesClientsThatOnlyFinishedWriting(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1, HalfClose: true}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		client := connect(t, inner)
		require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
		require.Equal(t, client.LocalAddr(), accept(t, l).RemoteAddr())
		require.Zero(t, l.Stats().Corpses)
	})
}

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

func TestResetTurnsTheExcessAway(t *testing.T) {
	for reason, lim := range map[listener.Reason]listener.Limits{
		listener.OverPending: {MaxPending: 2},
		listener.OverConns:   {MaxConns: 2},
		listener.OverRate:    {Rate: 20},
	} {
		lim.Overflow = listener.Reset
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			var clients []net.Conn
			for range 5 {
				clients = append(clients, connect(t, inner))
			}
			accept(t, l)
			accept(t, l)
			got := acceptLater(l)
			pending(t, got)
			for _, c := range clients[2:] {
				isReset(t, c)
			}
			s := l.Stats()
			require.Equal(t, uint64(3), s.Rejected[reason], reason)
			require.Len(t, s.Rejected, 5)
			require.NoError(t, l.Close())
			require.ErrorIs(t, (<-got).err, net.ErrClosed)
		})
	}
}

func TestMaxConns(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		connect(t, inner)
		c := accept(t, l)
		require.True(t, listener.Admit(c)) // is open all the same
		got := acceptLater(l)
		pending(t, got)
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Close(), net.ErrClosed) // counts once
		require.NoError(t, (<-got).err)
		require.Equal(t, 1, l.Stats().Open)
	})
}

// A place that becomes free must wake who lacks both place and token
// (haproxy/haproxy#2476).
func TestPlaceAndTokenAreAwaitedTogether(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 1, Rate: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		connect(t, inner)
		c := accept(t, l)
		got := acceptLater(l)
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, c.Close())
		start := time.Now()
		require.NoError(t, (<-got).err)
		require.Equal(t, 500*time.Millisecond, time.Since(start))
	})
}

func TestPerSource(t *testing.T) {
	throttled(t, listener.Limits{PerSource: 2}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		in := func(ip string, port int) net.Conn {
			t.Helper()
			from(t, inner, ip, port)
			return accept(t, l)
		}
		var last net.Conn
		for _, ip := range []string{"192.0.2.1", "192.0.2.2", "2001:db8:0:100::1", "2001:db8:0:200::1"} {
			in(ip, 1)
			last = in(ip, 2)
		}
		got := acceptLater(l)
		for _, ip := range []string{
			"192.0.2.1", "::ffff:192.0.2.1", "2001:db8:0:100::1", "2001:db8:0:1ff:ffff::7", // one /56
		} {
			c := from(t, inner, ip, 3)
			pending(t, got)
			isReset(t, c)
		}
		require.Equal(t, uint64(4), l.Stats().Rejected[listener.OverSource])
		require.NoError(t, last.Close())
		from(t, inner, "2001:db8:0:200::2", 3)
		require.NoError(t, (<-got).err)

		// no IP, no limit
		for range 5 {
			connect(t, inner)
			accept(t, l)
		}
	})
}

// One source beyond its limit must not hold up others, even if clients wait
// for the other limits.
func TestPerSourceNeverWaits(t *testing.T) {
	throttled(t, listener.Limits{PerSource: 1, MaxConns: 10}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		from(t, inner, "192.0.2.1", 1)
		accept(t, l)
		for port := range 50 {
			from(t, inner, "192.0.2.1", 2+port)
		}
		other := from(t, inner, "192.0.2.2", 1)
		require.Equal(t, other.LocalAddr(), accept(t, l).RemoteAddr())
		require.Equal(t, uint64(50), l.Stats().Rejected[listener.OverSource])
	})
}

func TestExemptIsNotCounted(t *testing.T) {
	monitor := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 9}
	exempt := func(a net.Addr) bool { return a.String() == monitor.String() }
	lim := listener.Limits{MaxPending: 1, Rate: 1, PerSource: 1, MaxConns: 1, Overflow: listener.Reset, Exempt: exempt}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		for range 5 {
			from(t, inner, "192.0.2.9", 9)
			c := accept(t, l)
			require.False(t, listener.Admit(c))
		}
		require.Equal(t, 1, l.Stats().Open)
		require.Equal(t, 1, l.Stats().Pending)
		require.Equal(t, uint64(6), l.Stats().Accepted)
	})
}

func TestSetLimitsWakes(t *testing.T) {
	for name, tc := range map[string][2]listener.Limits{
		"pending": {{MaxPending: 1}, {MaxPending: 2}},
		"conns":   {{MaxConns: 1}, {MaxConns: 2}},
		"rate":    {{Rate: 0.001}, {Rate: 1000}},
		"off":     {{Rate: 0.001, MaxPending: 1}, {}},
		"reset":   {{MaxPending: 1, PendingTimeout: -1}, {MaxPending: 1, PendingTimeout: -1, Overflow: listener.Reset}},
		"timeout": {{MaxPending: 1, PendingTimeout: -1}, {MaxPending: 1, PendingTimeout: 1}},
	} {
		throttled(t, tc[0], func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			connect(t, inner)
			second := connect(t, inner)
			accept(t, l)
			time.Sleep(time.Millisecond)
			got := acceptLater(l)
			pending(t, got)
			start := time.Now()
			l.SetLimits(tc[1])
			require.Equal(t, tc[1].MaxPending, l.Limits().MaxPending)
			if name == "reset" {
				isReset(t, second)
				require.NoError(t, l.Close())
				require.ErrorIs(t, (<-got).err, net.ErrClosed)
				return
			}
			require.NoError(t, (<-got).err, name)
			require.LessOrEqual(t, time.Since(start), time.Millisecond, name)
		})
	}
}

// Limits that were lowered while Accept was inside the inner listener hold for
// the connection that it brings.
func TestSetLimitsCountsWhatIsInHand(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 5}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		first := accept(t, l)
		got := acceptLater(l)
		synctest.Wait()
		l.SetLimits(listener.Limits{MaxPending: 1})
		connect(t, inner)
		pending(t, got)
		require.True(t, listener.Admit(first))
		require.NoError(t, (<-got).err)

		got = acceptLater(l)
		synctest.Wait()
		l.SetLimits(listener.Limits{MaxPending: 5})
		synctest.Wait() // inside again
		l.SetLimits(listener.Limits{MaxPending: 1, PendingTimeout: -1})
		client := connect(t, inner)
		pending(t, got)
		require.NoError(t, l.Close()) // and what is in hand is reset
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
		isReset(t, client)
	})
}

func TestSetLimitsKeepsTokensOfAnUnchangedRate(t *testing.T) {
	lim := listener.Limits{Rate: 1}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		connect(t, inner)
		accept(t, l)
		lim.MaxConns = 100
		l.SetLimits(lim)
		start := time.Now()
		accept(t, l)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestCloseWakesThrottle(t *testing.T) {
	for name, lim := range map[string]listener.Limits{
		"inner":   {},
		"pending": {MaxPending: 1, PendingTimeout: -1},
		"conns":   {MaxConns: 1},
		"rate":    {Rate: 1e-9},
	} {
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			connect(t, inner)
			accept(t, l)
			var waiting sync.WaitGroup
			for range 3 { // one has the turn, two wait for it
				waiting.Go(func() {
					_, err := l.Accept()
					require.ErrorIs(t, err, net.ErrClosed, name)
				})
			}
			synctest.Wait()
			start := time.Now()
			require.NoError(t, l.Close())
			require.NoError(t, l.Close())
			waiting.Wait()
			require.Zero(t, time.Since(start))
		})
	}
}

func TestRejectSaysGoodbye(t *testing.T) {
	lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, why listener.Reason) {
		fmt.Fprintf(c, "sorry: %v", why)
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		late := connect(t, inner)
		_, err := late.Write([]byte("hello, unread by the hook"))
		require.NoError(t, err)
		got := acceptLater(l)
		answer, err := io.ReadAll(late)
		require.NoError(t, err)
		require.Equal(t, "sorry: conns", string(answer))
		require.NoError(t, l.Close())
		<-got
	})
}

// A hook that never ends by itself is ended by its deadline; while 64 run, further
// connections are reset, and Accept goes on.
func TestRejectIsBoundedAndOffTheAcceptPath(t *testing.T) {
	lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, _ listener.Reason) {
		_, _ = io.Copy(io.Discard, c)
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		first := accept(t, l)
		var clients []net.Conn
		for range 64 {
			clients = append(clients, connect(t, inner))
		}
		got := acceptLater(l)
		pending(t, got)
		start := time.Now()
		isReset(t, connect(t, inner)) // the 65th
		require.Zero(t, time.Since(start))
		require.NoError(t, first.Close())
		connect(t, inner)
		require.NoError(t, (<-got).err)
		require.Zero(t, time.Since(start))

		for _, c := range clients {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		require.InDelta(t, 10*time.Second, time.Since(start), float64(time.Second))
		synctest.Wait()
		late := connect(t, inner) // there is room for goodbyes again
		got = acceptLater(l)
		pending(t, got)
		require.NoError(t, l.Close())
		isReset(t, late) // cut by Close
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
	})
}

// A hook that hangs on something else than the connection, or that takes the
// deadline away, does not keep the client.
func TestGoodbyeEndsWithoutItsHook(t *testing.T) {
	over := make(chan struct{})
	hooks := map[string]func(net.Conn){
		"hangs": func(net.Conn) { <-over },
		"no deadline": func(c net.Conn) {
			_ = c.SetDeadline(time.Time{})
			_, _ = io.Copy(io.Discard, c)
		},
		"exits": func(net.Conn) { runtime.Goexit() },
	}
	for name, hook := range hooks {
		lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, _ listener.Reason) { hook(c) }}
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			over = make(chan struct{})
			connect(t, inner)
			accept(t, l)
			got := acceptLater(l)
			start := time.Now()
			client := connect(t, inner)
			_, err := client.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF, name)
			require.LessOrEqual(t, time.Since(start), 10*time.Second, name)
			close(over)
			require.NoError(t, l.Close())
			<-got
		})
	}
}

// A client that neither reads nor leaves has a second after the hook.
func TestGoodbyeDoesNotLingerForLong(t *testing.T) {
	lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, _ listener.Reason) {
		_, _ = c.Write([]byte("bye"))
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		client := connect(t, inner)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		_, err := client.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.NoError(t, l.Close())
		<-got
	})
}

func TestAdmitThroughWrappers(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		outer := listener.Throttle(tls.NewListener(l, &tls.Config{}), listener.Limits{MaxPending: 1})
		connect(t, inner)
		c := accept(t, outer)
		require.Equal(t, 1, l.Stats().Pending)
		require.Equal(t, 1, outer.Stats().Pending)
		require.True(t, listener.Admit(c))
		require.Zero(t, l.Stats().Pending)
		require.Zero(t, outer.Stats().Pending)
		require.NoError(t, c.Close())
		require.Zero(t, l.Stats().Open)
		require.Zero(t, outer.Stats().Open)

		a, b := net.Pipe()
		require.False(t, listener.Admit(a))
		require.False(t, listener.Admit(nil))
		require.NoError(t, errors.Join(a.Close(), b.Close()))
	})
}

func TestAdmitAddr(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 3}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		from(t, inner, "192.0.2.1", 1)
		from(t, inner, "2001:db8::1", 2)
		named := connect(t, inner)
		for range 3 {
			accept(t, l)
		}
		require.False(t, l.AdmitAddr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 2}))
		require.False(t, l.AdmitAddr(nil))
		require.False(t, l.AdmitAddr(&net.UnixAddr{Net: "unix"}))
		require.Equal(t, 3, l.Stats().Pending)
		require.True(t, l.AdmitAddr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1).To4(), Port: 1}))
		require.True(t, l.AdmitAddr(&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 2}))
		require.True(t, l.AdmitAddr(named.LocalAddr()))
		require.False(t, l.AdmitAddr(named.LocalAddr())) // not pending any more
		require.Zero(t, l.Stats().Pending)
	})
}

func TestAdmitContext(t *testing.T) {
	throttled(t, listener.Limits{MaxPending: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		ctx := listener.ConnContext(t.Context(), tls.Server(c, &tls.Config{}))
		require.True(t, listener.AdmitContext(ctx))
		require.Zero(t, l.Stats().Pending)
		require.False(t, listener.AdmitContext(t.Context()))
		a, b := net.Pipe()
		require.Equal(t, t.Context(), listener.ConnContext(t.Context(), a))
		require.NoError(t, errors.Join(a.Close(), b.Close()))
	})
}

func TestThrottlePanics(t *testing.T) {
	l := listenertest.New()
	defer l.Close()
	require.PanicsWithValue(t, "listener: Throttle with nil listener", func() { listener.Throttle(nil, listener.Limits{}) })
	require.PanicsWithValue(t, "listener: Throttle with Limits.Rate NaN", func() {
		listener.Throttle(l, listener.Limits{Rate: math.NaN()})
	})
	require.PanicsWithValue(t, "listener: SetLimits with unknown Limits.Overflow 7", func() {
		listener.Throttle(l, listener.Limits{}).SetLimits(listener.Limits{Overflow: 7})
	})
}

func TestNegativeLimitsAreOff(t *testing.T) {
	off := listener.Limits{MaxPending: -1, Rate: -1, MaxConns: -1, PerSource: -1, Burst: -1}
	throttled(t, off, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 100 {
			from(t, inner, "192.0.2.1", 1)
			accept(t, l)
		}
		require.Zero(t, l.Stats().Open)
	})
}

func TestNames(t *testing.T) {
	require.Equal(t, "wait reset Overflow(5)", fmt.Sprint(listener.Wait, " ", listener.Reset, " ", listener.Overflow(5)))
	require.Equal(t, "pending rate conns source patience Reason(9)", fmt.Sprint(listener.OverPending, " ", listener.OverRate, " ",
		listener.OverConns, " ", listener.OverSource, " ", listener.OverPatience, " ", listener.Reason(9)))
}
