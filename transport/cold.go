package transport

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"
)

// patience is how long a request waits for another's connection: as long as Happy
// Eyeballs gives an address to answer, 250ms (RFC 8305), and a little more.
const patience = 300 * time.Millisecond

// A gate lets the requests to a host look for a connection one after the other.
// If there is one, that takes microseconds; if there is none, the first dials and
// the others wait. Over HTTP/2 they then share its connection, where net/http
// would let each of them dial. Over HTTP/1, where each needs its own, the gate
// stands open as soon as that is known.
type gate struct {
	wake chan struct{} // holds a token when somebody in line may try again

	mu       sync.Mutex // guards the fields below, and connecting of each exchange
	proto    int        // 1 or 2; 0 as long as it is unknown
	looking  *exchange  // looks for a connection, alone
	fresh    bool       // and got a new one
	line     int        // how many wait
	failures uint64     // those who stood in line at one do not wait for the next

	connecting int           // exchanges that passed and have not written a header
	retiring   *exchange     // waits until it is the only one of them
	alone      chan struct{} // closed when it is
}

func newGate() *gate { return &gate{wake: make(chan struct{}, 1)} }

// enter waits until x may look for a connection. The error is why x ended.
func (g *gate) enter(x *exchange) error {
	g.mu.Lock()
	failures := g.failures
	if g.passLocked(x, failures) {
		g.mu.Unlock()
		return nil
	}
	g.line++
	g.mu.Unlock()
	x.host.waited.Add(1)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		late, err := false, error(nil)
		select {
		case <-g.wake:
		case <-timer.C:
			late = true
		case <-x.scope.Done():
			err = context.Cause(&x.scope)
		}
		if g.leaveLine(x, failures, late, err != nil) {
			return err
		}
	}
}

// leaveLine reports whether x need not wait any longer. It lets the next one try:
// whoever comes first takes its turn, so that a turn is never held by a request
// that has yet to wake up.
func (g *gate) leaveLine(x *exchange, failures uint64, late, gone bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !gone && !g.passLocked(x, failures) {
		if !late {
			return false
		}
		g.countLocked(x)
	}
	g.line--
	g.wakeLocked()
	return true
}

// passLocked lets x pass if it may.
func (g *gate) passLocked(x *exchange, failures uint64) bool {
	switch {
	case g.proto == 1 || g.failures != failures:
	case g.looking == nil && g.retiring == nil:
		g.looking, g.fresh = x, false
	default:
		return false
	}
	g.countLocked(x)
	return true
}

func (g *gate) countLocked(x *exchange) {
	x.connecting = true
	g.connecting++
}

func (g *gate) wakeLocked() {
	if g.line == 0 {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// got is called when a request has got a connection. The hooks of a host do not
// know which: those that did would cost each request an allocation. It is the one
// that looks, unless that is late.
//
// Without TLS a connection is HTTP/1 unless an answer said otherwise.
func (g *gate) got(info httptrace.GotConnInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch conn, ok := info.Conn.(*tls.Conn); {
	case ok && conn.ConnectionState().NegotiatedProtocol == "h2":
		g.proto = 2
	case ok || g.proto == 0:
		g.proto = 1
	}
	if g.fresh = !info.Reused; !g.fresh {
		g.looking = nil
		g.wakeLocked()
	}
}

// wrote is called when a request has written its header. If it was the first on
// its connection, that is shared by now, which it is a moment after it was got.
func (g *gate) wrote() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fresh {
		g.looking = nil
		g.wakeLocked()
	}
}

// over says that x is on a connection, or never will be: then those in line shall
// not meet a like failure one after the other.
func (g *gate) over(x *exchange, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !x.connecting {
		return
	}
	x.connecting = false
	g.connecting--
	if failed {
		g.failures++
	}
	if g.looking == x {
		g.looking = nil
	}
	if g.retiring == x {
		g.retiring = nil
	}
	g.aloneLocked()
	g.wakeLocked()
}

// answered notes the protocol of an answer.
func (g *gate) answered(major int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proto = min(max(major, 1), 2)
}

// retire closes the gate for x, which is about to end the HTTP/2 connection that
// it got, and waits until all who passed have written their headers: net/http
// would send them to look for another connection, and each would dial.
func (g *gate) retire(x *exchange) {
	g.mu.Lock()
	if g.proto == 1 || g.retiring != nil || !x.connecting {
		g.mu.Unlock()
		return
	}
	alone := make(chan struct{})
	g.retiring, g.alone = x, alone
	g.aloneLocked()
	g.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-alone:
	case <-timer.C:
	case <-x.scope.Done():
	}
}

func (g *gate) aloneLocked() {
	if g.retiring != nil && g.connecting == 1 && g.alone != nil {
		close(g.alone)
		g.alone = nil
	}
}
