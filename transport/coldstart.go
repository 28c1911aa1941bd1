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
//	no request looks             the next one looks     a request comes
//	looking                      wait, 300ms at most    it got a used connection, wrote its header on a
//	                                                    new one (which is shared from then on), or failed
//	retiring (and looking)       wait, 300ms at most    it wrote its header on the connection that it ends
//	the host speaks HTTP/1       pass                   an answer is HTTP/2
//
// A failure lets all requests pass that wait at that moment.
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
func (c *coldStart) enter(x *exchange) error {
	c.mu.Lock()
	failures := c.failures
	if c.passLocked(x, failures) {
		c.mu.Unlock()
		return nil
	}
	c.waiting++
	c.mu.Unlock()
	x.host.waited.Add(1)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		late, err := false, error(nil)
		select {
		case <-c.wake:
		case <-timer.C:
			late = true
		case <-x.req.Context().Done():
			err = context.Cause(x.req.Context())
		}
		if c.leaveQueue(x, failures, late, err != nil) {
			return err
		}
	}
}

// leaveQueue reports whether x need not wait any longer. It lets the next one try:
// whoever comes first takes its turn, so that a turn is never held by a request
// that has yet to wake up.
func (c *coldStart) leaveQueue(x *exchange, failures uint64, late, gone bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !gone && !c.passLocked(x, failures) {
		if !late {
			return false
		}
		c.countLocked(x)
	}
	c.waiting--
	c.wakeLocked()
	return true
}

// passLocked lets x pass if it may.
func (c *coldStart) passLocked(x *exchange, failures uint64) bool {
	switch {
	case c.major == 1 || c.failures != failures:
	case c.looking == nil && c.retiring == nil:
		c.looking = x
	default:
		return false
	}
	c.countLocked(x)
	return true
}

func (c *coldStart) countLocked(x *exchange) {
	x.connecting = true
	c.connecting++
}

func (c *coldStart) wakeLocked() {
	if c.waiting == 0 {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// got is called when a request has got a connection. Without TLS that is HTTP/1
// unless an answer said otherwise.
func (c *coldStart) got(x *exchange, info httptrace.GotConnInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn, ok := info.Conn.(*tls.Conn)
	switch {
	case ok && conn != nil && conn.ConnectionState().NegotiatedProtocol == "h2":
		c.major = 2
	case ok || c.major == 0:
		c.major = 1
	}
	x.fresh = !info.Reused
	if info.Reused {
		c.foundLocked()
	}
}

// wrote is called when a request has written its header. If it was the first on
// its connection, that is shared by now, which it is a moment after it was got.
func (c *coldStart) wrote(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.fresh {
		c.foundLocked()
	}
}

// foundLocked lets the next one look: there is a connection, whoever has got it.
func (c *coldStart) foundLocked() {
	c.looking = nil
	c.wakeLocked()
}

// over says that x is on a connection, or never will be: then those that wait shall
// not meet a like failure one after the other.
func (c *coldStart) over(x *exchange, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !x.connecting {
		return
	}
	x.connecting = false
	c.connecting--
	if failed {
		c.failures++
	}
	if c.looking == x {
		c.looking = nil
	}
	if c.retiring == x {
		c.retiring = nil
	}
	c.aloneLocked()
	c.wakeLocked()
}

// answered notes the protocol of an answer.
func (c *coldStart) answered(major int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.major = min(max(major, 1), 2)
}

// retire stops others for x, which is about to end the HTTP/2 connection that
// it got, and waits until all that passed have written their headers: net/http
// would send them to look for another connection, and each would dial.
func (c *coldStart) retire(x *exchange) {
	c.mu.Lock()
	if c.major == 1 || c.retiring != nil || !x.connecting {
		c.mu.Unlock()
		return
	}
	alone := make(chan struct{})
	c.retiring, c.alone = x, alone
	c.aloneLocked()
	c.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-alone:
	case <-timer.C:
	case <-x.req.Context().Done():
	}
}

func (c *coldStart) aloneLocked() {
	if c.retiring != nil && c.connecting == 1 && c.alone != nil {
		close(c.alone)
		c.alone = nil
	}
}
