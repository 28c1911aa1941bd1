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

// A controller that adjusts the rate ten times a second still lets in no more than
// the rate.
func TestSetLimitsOftenLetsInNoBursts(t *testing.T) {
	throttled(t, listener.Limits{Rate: 10, Burst: 5, Patience: -1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 40 {
			connect(t, inner)
		}
		go func() {
			for i := range 30 {
				time.Sleep(100 * time.Millisecond)
				l.SetLimits(listener.Limits{Rate: 10 + float64(i%2)/10, Burst: 5 + i%3, Patience: -1})
			}
		}()
		start := time.Now()
		for range 25 { // 5 at once, 20 at 10 a second
			accept(t, l)
		}
		require.InDelta(t, 2, time.Since(start).Seconds(), 0.1)
		time.Sleep(5 * time.Second)
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

// An Accept that waits for room learns of Exempt as of any other limit.
func TestSetLimitsOfExempt(t *testing.T) {
	throttled(t, listener.Limits{MaxConns: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		pending(t, got)
		l.SetLimits(listener.Limits{MaxConns: 1, Exempt: func(net.Addr) bool { return true }})
		exempt := connect(t, inner)
		synctest.Wait()
		require.Len(t, got, 1)
		require.Equal(t, exempt.LocalAddr(), (<-got).RemoteAddr())
	})
}

// A raw connection frees its place when it is closed, also if Raw is off by then.
func TestSetLimitsOfRaw(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := listener.Throttle(inner, listener.Limits{MaxPending: 1, PendingTimeout: -1, Raw: true})
	defer l.Close()
	dial(t, l.Addr())
	c := accept(t, l)
	require.IsType(t, (*net.TCPConn)(nil), c)
	l.SetLimits(listener.Limits{MaxPending: 1, PendingTimeout: -1})
	require.NoError(t, c.Close())
	l.SetLimits(listener.Limits{MaxPending: 1, PendingTimeout: -1, Raw: true})
	dial(t, l.Addr())
	c = accept(t, l)
	l.SetLimits(listener.Limits{MaxPending: 1, PendingTimeout: -1})
	dial(t, l.Addr())
	got := acceptLater(l)
	select { // it looks for the end of c while it waits
	case <-got:
		require.Fail(t, "beyond the limit")
	case <-time.After(20 * time.Millisecond):
	}
	require.NoError(t, c.Close())
	require.NoError(t, (<-got).err)
}
