package listener

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// A Gate is a listener whose address is ours from the beginning and that lets
// clients in when its owner says so, any number of times.
//
// It starts closed. What clients meet at a closed gate depends on how it was made:
// they are refused ([Reserve]), or they are connected by the kernel and wait
// ([Config.Park], [NewGate]).
//
// It never takes the process's last descriptor: from its first Accept on it holds
// one in reserve, and when descriptors run out leaves that to others, such as the
// private leg of a [Merged], until there are two again.
//
// All methods may be called from any number of goroutines. Accept waits while the
// gate is closed, and ends only with Close, or if the listener underneath fails
// for good.
type Gate struct {
	addr net.Addr
	seat seat
	park bool

	spare  spare
	moving sync.Mutex // serialises what changes the seat; Accept, State and Stats never take it
	sized  bool       // the backlog was changed; guarded by moving

	mu      sync.Mutex // guards the fields below
	state   State
	l       net.Listener  // while opened
	changed chan struct{} // closed and replaced when state changes
	kept    []net.Conn    // accepted as a parked gate was shut, for the next Open
	backlog int           // for the next Open, 0 is the system's
	stats   GateStats
}

var _ net.Listener = (*Gate)(nil)

// State is what a [Gate] does with clients.
type State int

// The states of a Gate.
const (
	Closed State = iota // Closed refuses clients, or parks them; Open ends it.
	Opened              // Opened lets clients in; Shut ends it.
	Done                // Done is final: Close was called.
)

// String returns the state's name, such as "closed".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Opened:
		return "opened"
	case Done:
		return "done"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// GateStats counts what has happened at a [Gate].
type GateStats struct {
	Accepted     uint64 // Accepted connections were returned by Accept.
	Reset        uint64 // Reset connections were in the gate's hands as it was shut or closed.
	AcceptErrors uint64 // AcceptErrors passed, such as EMFILE, and were waited out.
	Openings     uint64 // Openings are calls of Open that opened the gate.
}

// NewGate returns a closed Gate over a listener that listens already, such as one
// inherited from systemd, and owns it from now on: Close closes l. While the gate
// is closed clients wait in l's queue.
//
// An Accept of l that is under way when the gate is shut is ended through l's
// SetDeadline, which the listeners of package net have. A listener without it
// goes on to wait, and the connection that it yields is kept for the next Open.
//
// NewGate panics if l is nil.
func NewGate(l net.Listener) *Gate {
	if l == nil {
		panic("listener: NewGate with nil listener")
	}
	return newGate(parked{l}, l.Addr(), true)
}

func newGate(s seat, addr net.Addr, park bool) *Gate {
	return &Gate{seat: s, addr: addr, park: park, changed: make(chan struct{})}
}

// Addr returns the address, which is final before the gate is first opened, also
// if it was reserved as port 0.
func (g *Gate) Addr() net.Addr { return g.addr }

// State reports whether clients are accepted.
func (g *Gate) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// Stats returns the counts up to now.
func (g *Gate) Stats() GateStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// Open lets clients in. An open gate is left as it is.
//
// The error is that of binding or listening, ctx's if that has ended before, or
// net.ErrClosed after Close. After an error the gate is closed as before.
func (g *Gate) Open(ctx context.Context) error {
	g.moving.Lock()
	defer g.moving.Unlock()
	switch g.State() {
	case Opened:
		return nil
	case Done:
		return closedError("open", g.addr)
	}
	if err := ctx.Err(); err != nil {
		return opError("open", g.addr, err)
	}
	l, err := g.seat.listen(ctx)
	if err != nil {
		return err
	}
	g.resize(l)
	g.become(Opened, l)
	return nil
}

// Shut turns clients away again, or parks them. Accepted connections live on; a
// connection that was on its way out of Accept is reset by a gate that refuses and
// kept for the next Open by one that parks. Shut of a closed gate does nothing and
// returns nil; after Close it returns net.ErrClosed. After another error, such as
// that a process has put its own Unix socket in our place, the gate is closed all
// the same, and Open tries to get the address back.
func (g *Gate) Shut() error {
	g.moving.Lock()
	defer g.moving.Unlock()
	switch g.State() {
	case Closed:
		return nil
	case Done:
		return closedError("shut", g.addr)
	}
	l := g.become(Closed, nil)
	g.restore(l)
	return g.seat.leave(l)
}

// Close gives the address up and ends every Accept. Connections that wait to be
// accepted are reset, accepted ones live on. A second Close returns nil.
func (g *Gate) Close() error {
	g.moving.Lock()
	defer g.moving.Unlock()
	if g.State() == Done {
		return nil
	}
	l := g.become(Done, nil)
	g.restore(l)
	g.mu.Lock()
	kept := g.kept
	g.kept = nil
	g.stats.Reset += uint64(len(kept))
	g.mu.Unlock()
	for _, c := range kept {
		reset(c)
	}
	g.spare.free(true)
	return g.seat.release(l)
}

// become changes the state, wakes all that wait for that, and returns the
// listener that was in use.
func (g *Gate) become(s State, l net.Listener) (was net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, g.l, g.state = g.l, l, s
	if s == Opened {
		g.stats.Openings++
	}
	close(g.changed)
	g.changed = make(chan struct{})
	return was
}

// setBacklog limits the queue while the gate is open, from now on; 0 is the
// system's limit.
func (g *Gate) setBacklog(n int) {
	g.moving.Lock()
	defer g.moving.Unlock()
	g.mu.Lock()
	g.backlog = n
	l := g.l
	g.mu.Unlock()
	if l != nil {
		g.resize(l)
	}
}

// resize applies the backlog to l. A queue that was never limited is left alone:
// that of an inherited socket may have been chosen.
func (g *Gate) resize(l net.Listener) {
	n := g.backlog
	if n == 0 && !g.sized {
		return
	}
	if n == 0 {
		n = systemBacklog
	}
	g.sized = true
	_ = resize(l, n) // as far as it can be had, see Limits.Patience
}

// restore gives l the system's queue: it is where clients park from now on, after
// Close those of others who have the socket, such as systemd.
func (g *Gate) restore(l net.Listener) {
	if g.park && g.sized && l != nil {
		_ = resize(l, systemBacklog)
	}
}

// Accept waits for the gate to be open and for a client. The error is
// net.ErrClosed after Close, or the failure of the listener underneath if it is
// there to stay; shortages such as EMFILE are waited out.
func (g *Gate) Accept() (net.Conn, error) {
	for {
		l, changed, c, err := g.next()
		switch {
		case c != nil || err != nil:
			return c, err
		case l == nil:
			<-changed
			continue
		}
		c, err = acceptFrom(l, &g.spare, changed, g.failed)
		if c, err, ok := g.settle(l, changed, c, err); ok {
			return c, err
		}
	}
}

// next returns a kept connection, the end, or what there is to wait for.
func (g *Gate) next() (net.Listener, <-chan struct{}, net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == Done {
		return nil, nil, nil, closedError("accept", g.addr)
	}
	if g.state == Opened && len(g.kept) > 0 {
		c := g.kept[0]
		g.kept = g.kept[1:]
		g.stats.Accepted++
		return nil, nil, c, nil
	}
	return g.l, g.changed, nil, nil
}

// settle decides what an Accept of l has yielded; !ok means to try again.
func (g *Gate) settle(l net.Listener, changed <-chan struct{}, c net.Conn, err error) (net.Conn, error, bool) {
	if err != nil {
		return nil, err, !stopped(changed) // the end of what has been shut is no failure
	}
	if g.take(l, c) {
		return c, nil, true
	}
	return nil, nil, false
}

// take reports whether c, accepted from l, may leave the gate.
func (g *Gate) take(l net.Listener, c net.Conn) bool {
	g.mu.Lock()
	switch {
	case g.l == l:
		g.stats.Accepted++
		g.mu.Unlock()
		return true
	case g.park && g.state == Closed:
		g.kept = append(g.kept, c)
		g.mu.Unlock()
		return false
	}
	g.stats.Reset++
	g.mu.Unlock()
	reset(c)
	return false
}

func (g *Gate) failed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.AcceptErrors++
}
