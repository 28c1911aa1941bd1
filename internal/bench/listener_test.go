package bench_test

import (
	"math"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/netutil"

	"github.com/connhygiene/connhygiene/listener"
)

// BenchmarkAccept is an Accept whose client is there already. No limit is reached.
func BenchmarkAccept(b *testing.B) {
	for _, lib := range turned([]struct {
		name string
		wrap func(net.Listener) net.Listener
	}{
		{"raw", func(l net.Listener) net.Listener { return l }},
		{"ours", func(l net.Listener) net.Listener { // a public port as it should be
			return listener.Merge(listener.Throttle(l, listener.Limits{MaxPending: math.MaxInt32}))
		}},
		{"ours-conns", func(l net.Listener) net.Listener { // what LimitListener does
			return listener.Throttle(l, listener.Limits{MaxConns: math.MaxInt32})
		}},
		{"limitlistener", func(l net.Listener) net.Listener { return netutil.LimitListener(l, 1<<20) }},
	}) {
		b.Run("lib="+lib.name, func(b *testing.B) {
			q := newQueue(b, lib.wrap)
			b.ReportAllocs()
			for b.Loop() {
				if q.waiting == 0 {
					b.StopTimer()
					q.fill(500)
					b.StartTimer()
				}
				q.accept()
			}
		})
	}
}

// A queue is a listener whose clients are connected before it accepts.
type queue struct {
	tb      testing.TB
	l       net.Listener
	waiting int
	conns   []net.Conn // of both sides
}

func newQueue(tb testing.TB, wrap func(net.Listener) net.Listener) *queue {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	q := &queue{tb: tb, l: wrap(l)}
	tb.Cleanup(func() {
		q.clear()
		require.NoError(tb, q.l.Close())
	})
	return q
}

func (q *queue) fill(n int) {
	q.clear()
	for range n {
		c, err := net.Dial("tcp", q.l.Addr().String())
		require.NoError(q.tb, err)
		q.conns = append(q.conns, c)
	}
	q.waiting = n
}

// clear resets the clients' side first: a TIME_WAIT each would fill the ports.
func (q *queue) clear() {
	for _, c := range q.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(q.conns)
	q.conns = q.conns[:0]
}

func (q *queue) accept() {
	c, err := q.l.Accept()
	if err != nil {
		q.tb.Fatal(err)
	}
	q.conns = append(q.conns, c)
	q.waiting--
}
