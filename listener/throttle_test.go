package listener_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
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

func TestStatsInJSONHaveNames(t *testing.T) {
	stats := listener.ThrottleStats{Rejected: map[listener.Reason]uint64{listener.OverPending: 1, listener.OverPatience: 2}}
	text, err := json.Marshal(stats)
	require.NoError(t, err)
	require.Contains(t, string(text), `"Rejected":{"patience":2,"pending":1}`)
	var read listener.ThrottleStats
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, stats, read)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"Rejected":{"mood":1}}`), &read), `no Reason "mood"`)
}
