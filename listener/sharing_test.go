package listener_test

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// One source has no more than its share of the pending places, and gets another when a
// client of its logs in, leaves, or is out of time.
func TestPendingPerSource(t *testing.T) {
	lim := listener.Limits{MaxPending: 4, PendingPerSource: 2}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		from(t, inner, "192.0.2.1", 1)
		from(t, inner, "192.0.2.1", 2)
		a, b := accept(t, l), accept(t, l)
		got := acceptLater(l)
		isReset(t, from(t, inner, "192.0.2.1", 3))
		honest := from(t, inner, "192.0.2.2", 1)
		require.Equal(t, honest.LocalAddr(), (<-got).RemoteAddr())
		require.Equal(t, uint64(1), l.Stats().Rejected[listener.OverSource])

		require.True(t, listener.Admit(a))
		from(t, inner, "192.0.2.1", 4)
		c := accept(t, l)
		require.NoError(t, b.Close())
		from(t, inner, "192.0.2.1", 5)
		accept(t, l)
		got = acceptLater(l)
		isReset(t, from(t, inner, "192.0.2.1", 6))
		time.Sleep(10 * time.Second)
		from(t, inner, "192.0.2.1", 7)
		require.NoError(t, (<-got).err)
		require.NoError(t, errors.Join(a.Close(), c.Close()))
	})
	// Without MaxPending as well.
	throttled(t, listener.Limits{PendingPerSource: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		from(t, inner, "192.0.2.1", 1)
		c := accept(t, l)
		acceptLater(l)
		isReset(t, from(t, inner, "192.0.2.1", 2))
		require.True(t, listener.Admit(c))
		require.Zero(t, l.Stats().Pending)
	})
}

// An exempt client that is alone in the queue is served however full the server is
// (apache/pulsar#21996); behind another it queues like all.
func TestExemptIsServedByAFullServer(t *testing.T) {
	monitor := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 9}
	exempt := func(a net.Addr) bool { return a.String() == monitor.String() }
	for name, lim := range map[string]listener.Limits{
		"MaxPending": {MaxPending: 1, PendingTimeout: -1},
		"MaxConns":   {MaxConns: 1},
		"Rate":       {Rate: 1e-6},
	} {
		t.Run(name, func(t *testing.T) {
			lim.Exempt = exempt
			throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
				connect(t, inner)
				first := accept(t, l)
				for range 5 {
					from(t, inner, "192.0.2.9", 9)
					accept(t, l)
				}
				other := connect(t, inner)
				got := acceptLater(l)
				pending(t, got)
				from(t, inner, "192.0.2.9", 9)
				pending(t, got)
				if name == "Rate" {
					l.SetLimits(listener.Limits{Exempt: exempt})
				}
				require.NoError(t, first.Close())
				a := <-got
				require.NoError(t, a.err)
				require.Equal(t, other.LocalAddr(), a.RemoteAddr())
				accept(t, l)
			})
		})
	}
}

// With Raw the socket is net's own, is admitted by its address, and gives its place back
// when it is closed.
func TestRaw(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := listener.Throttle(inner, listener.Limits{MaxPending: 2, PendingTimeout: -1, Raw: true})
	defer l.Close()
	for range 5 {
		dial(t, l.Addr())
	}
	a, b := accept(t, l), accept(t, l)
	require.IsType(t, (*net.TCPConn)(nil), a)
	require.Equal(t, 2, l.Stats().Pending)
	require.False(t, listener.Admit(a))
	require.True(t, l.AdmitAddr(a.RemoteAddr()))
	c := accept(t, l)
	got := acceptLater(l)
	require.NoError(t, b.Close()) // wakes no Accept, which looks again
	a4 := <-got
	require.NoError(t, a4.err)
	require.Equal(t, 2, l.Stats().Pending)

	l.SetLimits(listener.Limits{MaxPending: 2, PendingTimeout: -1, Raw: true, Overflow: listener.Reset})
	require.NoError(t, errors.Join(c.Close(), a4.Close()))
	accept(t, l)
	require.Zero(t, l.Stats().Rejected[listener.OverPending])
	runtime.KeepAlive(a)

	l.SetLimits(listener.Limits{MaxPending: 9, MaxConns: 9, Raw: true})
	dial(t, l.Addr())
	_, raw := accept(t, l).(*net.TCPConn)
	require.False(t, raw) // its end must be known at once
}
