package listener_test

import (
	"math"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// acceptors are what Accept is compared over. The limits are never reached.
var acceptors = []struct {
	name string
	wrap func(net.Listener) net.Listener
}{
	{"raw", func(l net.Listener) net.Listener { return l }},
	{"throttle", func(l net.Listener) net.Listener {
		return listener.Throttle(l, listener.Limits{MaxPending: math.MaxInt32})
	}},
	{"rate", func(l net.Listener) net.Listener { return listener.Throttle(l, listener.Limits{Rate: 1e9}) }},
	{"merge", func(l net.Listener) net.Listener { return listener.Merge(l) }},
	{"merge+throttle", func(l net.Listener) net.Listener {
		return listener.Merge(listener.Throttle(l, listener.Limits{MaxPending: math.MaxInt32}))
	}},
	{"two legs", func(l net.Listener) net.Listener {
		return listener.Merge(listenertest.New(), listener.Throttle(l, listener.Limits{MaxPending: math.MaxInt32}))
	}},
	{"all limits", func(l net.Listener) net.Listener {
		return listener.Merge(listener.Throttle(l, listener.Limits{
			MaxPending: math.MaxInt32, MaxConns: math.MaxInt32, PerSource: math.MaxInt32, Rate: 1e9, Patience: -1,
		}))
	}},
}

// A queue is a listener whose clients are connected before it accepts.
type queue struct {
	tb      testing.TB
	l       net.Listener
	addr    string
	n       int // in the kernel's queue
	clients []net.Conn
	servers []net.Conn
}

func newQueue(tb testing.TB, wrap func(net.Listener) net.Listener) *queue {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	q := &queue{tb: tb, l: wrap(l), addr: l.Addr().String()}
	tb.Cleanup(func() {
		q.clear()
		require.NoError(tb, q.l.Close())
	})
	return q
}

// fill connects n clients.
func (q *queue) fill(n int) {
	q.clear()
	for range n {
		c, err := net.Dial("tcp", q.addr)
		require.NoError(q.tb, err)
		q.clients = append(q.clients, c)
	}
	q.n = n
}

func (q *queue) clear() {
	for _, c := range q.clients {
		_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT, which would fill the ports
		_ = c.Close()
	}
	for _, c := range q.servers {
		_ = c.Close()
	}
	clear(q.clients)
	clear(q.servers)
	q.clients, q.servers = q.clients[:0], q.servers[:0]
}

func (q *queue) accept() {
	c, err := q.l.Accept()
	if err != nil {
		q.tb.Fatal(err)
	}
	q.servers = append(q.servers, c)
	q.n--
}

// BenchmarkAccept is the cost of an Accept whose client is there already.
func BenchmarkAccept(b *testing.B) {
	for _, a := range acceptors {
		b.Run(a.name, func(b *testing.B) {
			q := newQueue(b, a.wrap)
			b.ReportAllocs()
			for b.Loop() {
				if q.n == 0 {
					b.StopTimer()
					q.fill(1000)
					b.StartTimer()
				}
				q.accept()
			}
		})
	}
}

// costOfAccept returns what one Accept allocates, in objects and bytes, and keeps.
func costOfAccept(t *testing.T, wrap func(net.Listener) net.Listener) (objects, bytes float64) {
	t.Helper()
	const n = 400
	q := newQueue(t, wrap)
	q.fill(n + 10)
	q.servers = make([]net.Conn, 0, 2*n)
	for range 10 { // what is allocated once
		q.accept()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		q.accept()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n
}

// One allocation more than Accept of the socket itself, and at most 100 bytes for each
// connection that is open. Go 1.25 allocates what SyscallConn returns as well. The runtime
// allocates on its own, the more on a busy machine (2 KB for a thread, which it starts when
// a system call takes long); that only adds, so the least of five counts.
func TestCostOfAConnection(t *testing.T) {
	least := func(wrap func(net.Listener) net.Listener, objectsEnough, bytesEnough float64) (objects, bytes float64) {
		objects, bytes = math.Inf(1), math.Inf(1)
		for i := 0; i < 5 && (objects >= objectsEnough || bytes > bytesEnough); i++ {
			o, b := costOfAccept(t, wrap)
			objects, bytes = min(objects, o), min(bytes, b)
		}
		return objects, bytes
	}
	limit, most := 1.5, 100.0 // half of one is the runtime's
	if strings.HasPrefix(runtime.Version(), "go1.25") {
		limit, most = 2.5, 120
	}
	rawObjects, rawBytes := least(acceptors[0].wrap, 0, 0)
	for _, a := range acceptors[1:] {
		objects, bytes := least(a.wrap, rawObjects+limit, rawBytes+most)
		t.Logf("%-15s %+.2f allocations, %+.0f bytes", a.name, objects-rawObjects, bytes-rawBytes)
		require.Less(t, objects-rawObjects, limit, a.name)
		require.LessOrEqual(t, bytes-rawBytes, most, a.name)
	}
}
