package listener_test

import (
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

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

// textAddr is an address of a type that is not package net's.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

func TestPerSourceOfOtherAddresses(t *testing.T) {
	throttled(t, listener.Limits{PerSource: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		in := func(a net.Addr) {
			t.Helper()
			_, err := inner.DialFrom(t.Context(), a)
			require.NoError(t, err)
			accept(t, l)
		}
		in(textAddr("192.0.2.1:1"))
		in(textAddr("[2001:db8::1]:1"))
		got := acceptLater(l)
		for _, same := range []net.Addr{textAddr("192.0.2.1:2"), textAddr("[2001:db8::2]:1"), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}} {
			c, err := inner.DialFrom(t.Context(), same)
			require.NoError(t, err)
			pending(t, got)
			isReset(t, c)
		}
		for range 2 {
			connect(t, inner)
			require.NoError(t, (<-got).err)
			got = acceptLater(l)
		}
		for range 2 { // no IP, no limit
			_, err := inner.DialFrom(t.Context(), &net.TCPAddr{})
			require.NoError(t, err)
			require.NoError(t, (<-got).err)
			got = acceptLater(l)
		}
	})
}

// A source that has gone leaves nothing behind.
func TestPerSourceForgets(t *testing.T) {
	throttled(t, listener.Limits{PerSource: 1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		used := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := used()
		for i := range 20_000 {
			c, err := inner.DialFrom(t.Context(), &net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i))})
			require.NoError(t, err)
			s, err := l.Accept()
			require.NoError(t, err)
			require.NoError(t, errors.Join(c.Close(), s.Close()))
		}
		require.Less(t, used(), before+500_000) // 25 bytes for each, which an entry exceeds
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
