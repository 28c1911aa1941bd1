package listener_test

import (
	"errors"
	"math"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// machine is a TwoPhase of memory with what a fuzz test has done to it.
type machine struct {
	t         *testing.T
	inner     *listenertest.Listener
	private   *listenertest.Listener
	gate      *listener.Gate
	throttled *listener.Throttled
	merged    *listener.Merged
	closed    bool
	accepts   []<-chan accepted
	served    []net.Conn
	clients   []net.Conn
}

// newMachine has a gate over a listener with deadlines, as sockets have, or one
// without.
func newMachine(t *testing.T, deadlines bool) *machine {
	m := &machine{t: t, inner: listenertest.New(), private: listenertest.New()}
	var l net.Listener = m.inner
	if !deadlines {
		l = noDeadline{l}
	}
	m.gate = listener.NewGate(l)
	m.throttled = listener.Throttle(m.gate, listener.Limits{})
	m.merged = listener.Merge(m.private, m.throttled)
	return m
}

// limits are drawn from two bytes, all fields and zero values among them.
func limits(a, b byte) listener.Limits {
	return listener.Limits{
		MaxPending:     int(a&3) - 1,
		PendingTimeout: []time.Duration{0, time.Second, -1, time.Nanosecond}[a>>2&3],
		Rate:           []float64{0, 1, 1e6, -1, 1e-300, math.MaxFloat64, math.Inf(1), 5e-324}[a>>4&7],
		Burst:          int(b&3) - 1,
		Patience:       []time.Duration{0, time.Second, -1, math.MaxInt64}[b>>2&3],
		MaxConns:       int(b >> 4 & 3),
		PerSource:      int(b >> 6 & 1),
		Overflow:       listener.Overflow(b >> 7),
	}
}

func (m *machine) step(op, a, b byte) {
	switch op % 9 {
	case 0:
		_ = m.gate.Open(m.t.Context())
	case 1:
		_ = m.gate.Shut()
	case 2:
		m.accepts = append(m.accepts, acceptLater(m.merged))
	case 3:
		m.connect(m.inner, a)
	case 4:
		m.throttled.SetLimits(limits(a, b))
	case 5:
		if n := len(m.served); n > 0 {
			listener.Admit(m.served[int(a)%n])
		}
	case 6:
		if n := len(m.served); n > 0 {
			_ = m.served[int(a)%n].Close()
		}
	case 7:
		time.Sleep(time.Duration(a) * time.Second / 10)
	case 8:
		switch {
		case a < 16:
			m.closed = true
			if err := m.merged.Close(); err != nil {
				m.t.Fatal(err)
			}
		case a < 128:
			m.connect(m.private, a)
		case len(m.clients) > 0:
			_ = m.clients[int(a)%len(m.clients)].Close()
		}
	}
	synctest.Wait()
	m.collect()
	m.check()
}

func (m *machine) connect(l *listenertest.Listener, a byte) {
	c, err := l.DialFrom(m.t.Context(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, a%3), Port: len(m.clients)})
	if err == nil {
		m.clients = append(m.clients, c)
	}
}

// collect takes what the Accepts have returned.
func (m *machine) collect() {
	waiting := m.accepts[:0]
	for _, ch := range m.accepts {
		select {
		case a := <-ch:
			if a.err == nil {
				m.served = append(m.served, a.Conn)
			} else if !m.closed || !errors.Is(a.err, net.ErrClosed) {
				m.t.Fatalf("Accept: %v", a.err)
			}
		default:
			waiting = append(waiting, ch)
		}
	}
	m.accepts = waiting
}

func (m *machine) check() {
	s, lim := m.throttled.Stats(), m.throttled.Limits()
	if s.Open < 0 || s.Pending < 0 || s.Pending > s.Open || s.Open > len(m.served)+1 { // one may wait in the merge
		m.t.Fatalf("%+v after %+v", s, lim)
	}
	if m.closed && len(m.accepts) > 0 {
		m.t.Fatal("Accept hangs after Close")
	}
}

// finish closes all and requires that every client was served or cut.
func (m *machine) finish() {
	m.closed = true
	if err := m.merged.Close(); err != nil {
		m.t.Fatal(err)
	}
	synctest.Wait()
	m.collect()
	for _, c := range m.served {
		_ = c.Close()
	}
	synctest.Wait()
	if s := m.throttled.Stats(); s.Open != 0 || s.Pending != 0 {
		m.t.Fatalf("%+v after everything was closed", s)
	}
	for _, c := range m.clients {
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := c.Read(make([]byte, 1))
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			m.t.Fatal("a client was forgotten")
		}
		if err == nil || errors.Is(err, syscall.EPIPE) {
			m.t.Fatal(err)
		}
		_ = c.Close()
	}
}

// FuzzListeners does random things to all three at once.
func FuzzListeners(f *testing.F) {
	f.Add(false, []byte{0, 0, 0, 4, 2, 0, 3, 1, 0, 3, 1, 0, 2, 0, 0, 2, 0, 0, 5, 0, 0, 6, 0, 0, 8, 0, 0})
	f.Add(false, []byte{3, 1, 0, 3, 2, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 3, 0, 0, 8, 200, 0, 0, 0, 0})
	f.Add(false, []byte{4, 0x12, 0x10, 0, 0, 0, 3, 0, 0, 3, 0, 0, 2, 0, 0, 2, 0, 0, 7, 50, 0, 4, 0x4f, 0xff, 3, 9, 9, 2, 0, 0})
	f.Add(false, []byte{2, 0, 0, 8, 20, 0, 2, 0, 0, 8, 30, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0, 8, 1, 0, 2, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, deadlines bool, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t, deadlines)
			for ; len(script) >= 3 && !t.Failed(); script = script[3:] {
				m.step(script[0], script[1], script[2])
			}
			m.finish()
		})
	})
}

// FuzzLimits looks at one limit after the other with any numbers: no panic, no
// hang, no more in than allowed.
func FuzzLimits(f *testing.F) {
	f.Add(1, 1.0, 1, int64(1), int64(1), 1, 1, 0)
	f.Add(0, 0.0, 0, int64(0), int64(0), 0, 0, 1)
	f.Add(-1, -1.0, -1, int64(-1), int64(-1), -1, -1, 0)
	f.Add(math.MaxInt, math.MaxFloat64, math.MaxInt, int64(math.MaxInt64), int64(math.MaxInt64), math.MaxInt, math.MaxInt, 1)
	f.Add(3, 1e-300, 2, int64(math.MinInt64), int64(math.MaxInt64), 2, 1, 0)
	f.Fuzz(func(t *testing.T, maxPending int, rate float64, burst int, timeout, patience int64, maxConns, perSource, overflow int) {
		if math.IsNaN(rate) {
			t.Skip("panics, as documented")
		}
		lim := listener.Limits{
			MaxPending: maxPending, Rate: rate, Burst: burst, PendingTimeout: time.Duration(timeout), MaxConns: maxConns,
			Patience: time.Duration(patience), PerSource: perSource, Overflow: listener.Overflow(overflow & 1),
		}
		synctest.Test(t, func(t *testing.T) {
			inner := listenertest.New()
			l := listener.Throttle(inner, lim)
			var clients [10]net.Conn
			for i := range clients {
				clients[i] = from(t, inner, "192.0.2.1", i)
			}
			got := make(chan accepted, len(clients)+1)
			go func() {
				for {
					c, err := l.Accept()
					got <- accepted{c, err}
					if err != nil {
						return
					}
				}
			}()
			synctest.Wait()
			if s := l.Stats(); maxPending > 0 && s.Pending > maxPending || maxConns > 0 && s.Open > maxConns ||
				perSource > 0 && s.Open > perSource {
				t.Fatalf("%+v within %+v", s, lim)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			for a := range got {
				if a.err != nil {
					break
				}
				_ = a.Close()
			}
			if s := l.Stats(); s.Open != 0 || s.Pending != 0 {
				t.Fatalf("%+v after everything was closed", s)
			}
		})
	})
}
