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

// A coldStart lets the requests to a host look for a connection one after the other.
// If there is one, that takes microseconds; if there is none, the first dials and
// the others wait. Over HTTP/2 they then share its connection, where net/http would
// let each of them dial.
//
//	state                        others                 ends when
//	nobody looks                 the next one looks     a request comes
//	looking                      wait, 300ms at most    it got a used connection, wrote its header on a
//	                                                    new one (which is shared from then on), or failed
//	retiring (and looking)       wait, 300ms at most    it wrote its header on the connection that it ends
//	the host speaks HTTP/1       pass                   an answer is HTTP/2
//
// A failure lets everybody pass who waits at that moment.
type coldStart struct {
	wake chan struct{} // holds a token when a waiting request may try again

	mu       sync.Mutex // guards the fields below, and fresh and connecting of each exchange
	major    int        // of the protocol, 1 or 2; 0 as long as it is unknown
	looking  *exchange  // looks for a connection, alone
	waiting  int        // requests
	failures uint64     // requests that waited for one do not wait for the next

	connecting int           // exchanges that passed and have not written a header
	retiring   *exchange     // ends its connection, and waits until it is the only one of them
	alone      chan struct{} // closed when it is
}

func newColdStart() *coldStart { return &coldStart{wake: make(chan struct{}, 1)} }

// enter waits until x may look for a connection. The error is why x ended.
func (g *coldStart) enter(x *exchange) error {
	g.mu.Lock()
	failures := g.failures
	if g.passLocked(x, failures) {
		g.mu.Unlock()
		return nil
	}
	g.waiting++
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
		case <-x.req.Context().Done():
			err = context.Cause(x.req.Context())
		}
		if g.leaveQueue(x, failures, late, err != nil) {
			return err
		}
	}
}

// leaveQueue reports whether x need not wait any longer. It lets the next one try:
// whoever comes first takes its turn, so that a turn is never held by a request
// that has yet to wake up.
func (g *coldStart) leaveQueue(x *exchange, failures uint64, late, gone bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !gone && !g.passLocked(x, failures) {
		if !late {
			return false
		}
		g.countLocked(x)
	}
	g.waiting--
	g.wakeLocked()
	return true
}

// passLocked lets x pass if it may.
func (g *coldStart) passLocked(x *exchange, failures uint64) bool {
	switch {
	case g.major == 1 || g.failures != failures:
	case g.looking == nil && g.retiring == nil:
		g.looking = x
	default:
		return false
	}
	g.countLocked(x)
	return true
}

func (g *coldStart) countLocked(x *exchange) {
	x.connecting = true
	g.connecting++
}

func (g *coldStart) wakeLocked() {
	if g.waiting == 0 {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// got is called when a request has got a connection. Without TLS that is HTTP/1
// unless an answer said otherwise.
func (g *coldStart) got(x *exchange, info httptrace.GotConnInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	conn, ok := info.Conn.(*tls.Conn)
	switch {
	case ok && conn != nil && conn.ConnectionState().NegotiatedProtocol == "h2":
		g.major = 2
	case ok || g.major == 0:
		g.major = 1
	}
	x.fresh = !info.Reused
	if info.Reused {
		g.foundLocked()
	}
}

// wrote is called when a request has written its header. If it was the first on
// its connection, that is shared by now, which it is a moment after it was got.
func (g *coldStart) wrote(x *exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if x.fresh {
		g.foundLocked()
	}
}

// foundLocked lets the next one look: there is a connection, whoever has got it.
func (g *coldStart) foundLocked() {
	g.looking = nil
	g.wakeLocked()
}

// over says that x is on a connection, or never will be: then those that wait shall
// not meet a like failure one after the other.
func (g *coldStart) over(x *exchange, failed bool) {
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
func (g *coldStart) answered(major int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.major = min(max(major, 1), 2)
}

// retire stops others for x, which is about to end the HTTP/2 connection that
// it got, and waits until all who passed have written their headers: net/http
// would send them to look for another connection, and each would dial.
func (g *coldStart) retire(x *exchange) {
	g.mu.Lock()
	if g.major == 1 || g.retiring != nil || !x.connecting {
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
	case <-x.req.Context().Done():
	}
}

func (g *coldStart) aloneLocked() {
	if g.retiring != nil && g.connecting == 1 && g.alone != nil {
		close(g.alone)
		g.alone = nil
	}
}
