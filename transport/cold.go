package transport

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"slices"
	"sync"
	"time"
)

// patience is how long a request waits for another's connection: as long as Happy
// Eyeballs waits for an address (RFC 8305) and a little more.
const patience = 300 * time.Millisecond

// A gate lets the requests to a host that has no connection pass one after the
// other: over HTTP/2 the first opens a connection that serves the others, which
// net/http would let dial one each. As soon as there is a connection the gate
// stands open, and over HTTP/1, where a connection serves one request at a time,
// for good.
//
// What it knows about connections is what happens to requests: a gate that nobody
// is behind is closed again, since an idle connection may be gone, and so it is
// after an error and when a connection is retired.
type gate struct {
	mu         sync.Mutex // guards the fields below, and connecting and inFlight of each exchange
	proto      int        // 1 or 2; 0 as long as it is unknown
	warm       bool       // there is a connection
	leader     *exchange  // on its way to a connection, alone
	retiring   *exchange  // waits until it is the only one on its way
	alone      chan struct{}
	line       []*waiter
	connecting int // past the gate and not yet on a connection
	inFlight   int
}

// A waiter stands in line.
type waiter struct {
	x    *exchange
	pass chan struct{} // closed when x may pass
}

// enter waits until x may look for a connection. The error is why x ended.
func (g *gate) enter(x *exchange) error {
	g.mu.Lock()
	x.inFlight = true
	g.inFlight++
	if g.proto == 1 || g.leader == nil && g.retiring == nil {
		if g.proto != 1 && !g.warm {
			g.leader = x
		}
		g.passLocked(x)
		g.mu.Unlock()
		return nil
	}
	w := &waiter{x, make(chan struct{})}
	g.line = append(g.line, w)
	g.mu.Unlock()
	x.host.waited.Add(1)
	return g.wait(w)
}

func (g *gate) wait(w *waiter) (err error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.pass:
		return nil
	case <-timer.C:
	case <-w.x.scope.Done():
		err = context.Cause(&w.x.scope)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.line, w); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		if err == nil {
			g.passLocked(w.x)
		}
	}
	return err
}

func (g *gate) passLocked(x *exchange) {
	x.connecting = true
	g.connecting++
}

// connected says that x is on a connection or never will be, in which case those
// in line shall not wait for a like failure one after the other.
func (g *gate) connected(x *exchange, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connectedLocked(x, failed)
}

func (g *gate) connectedLocked(x *exchange, failed bool) {
	if x == nil || !x.connecting {
		return
	}
	x.connecting = false
	g.connecting--
	if failed {
		g.warm = false
	}
	if g.retiring == x {
		g.retiring = nil
		g.warm = false
	}
	if g.retiring != nil {
		g.aloneLocked()
	}
	if g.leader == x {
		g.leader = nil
		g.warm = !failed
	}
	if g.leader == nil && g.retiring == nil {
		g.nextLocked(failed)
	}
}

// nextLocked lets those in line pass: all if it is no use to wait, or else one.
func (g *gate) nextLocked(failed bool) {
	for len(g.line) > 0 {
		w := g.line[0]
		g.line = slices.Delete(g.line, 0, 1)
		g.passLocked(w.x)
		close(w.pass)
		if g.proto != 1 && !failed {
			g.leader = w.x
			return
		}
	}
}

// someoneConnected says that the first request is on a connection. The hooks of a
// host do not know which request they are called for; those that did would be an
// allocation more for each.
func (g *gate) someoneConnected() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connectedLocked(g.leader, false)
}

// got notes the protocol of a connection. Without TLS it is HTTP/1 unless an
// answer said otherwise: the first burst over unencrypted HTTP/2 then passes when
// its connection is there to be shared.
func (g *gate) got(info httptrace.GotConnInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch conn, ok := info.Conn.(*tls.Conn); {
	case ok && conn.ConnectionState().NegotiatedProtocol == "h2":
		g.proto = 2
	case ok || g.proto == 0:
		g.proto = 1
	}
}

// answered notes the protocol of an answer.
func (g *gate) answered(major int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proto = min(max(major, 1), 2)
}

// left says that x is over. If it failed its connection may be gone, and an idle
// one goes without a word.
func (g *gate) left(x *exchange, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connectedLocked(x, failed)
	if failed && g.leader == nil {
		g.warm = false
	}
	if !x.inFlight {
		return
	}
	x.inFlight = false
	g.inFlight--
	if g.inFlight == 0 {
		g.warm = false
	}
}

// retire closes the gate for x, which is about to end the connection that it got,
// and waits until all others that passed are on that connection: net/http would
// send them away from it, and each would dial.
func (g *gate) retire(x *exchange) {
	g.mu.Lock()
	if g.proto == 1 || g.retiring != nil || !x.connecting {
		g.mu.Unlock()
		return
	}
	g.retiring = x
	alone := make(chan struct{})
	g.alone = alone
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
	if g.connecting == 1 && g.alone != nil {
		close(g.alone)
		g.alone = nil
	}
}
