package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// A Gate is a listener whose address is ours from the beginning and that lets
// clients in when its owner says so, any number of times.
//
// It starts closed. A closed gate does one of two things, as it was made:
// it refuses clients ([Reserve]), or lets the kernel connect them and lets them wait
// ([Config.Park], [NewGate]).
//
// A gate never takes the process's last file descriptor: from its first Accept on it
// holds one in reserve. When descriptors run out it gives the reserve to others, such as
// the private port of a [Merged], and accepts again when two are free.
//
// All methods may be called from any number of goroutines. Accept waits while the
// gate is closed, and ends only with Close, or if the listener underneath fails
// for good.
type Gate struct {
	addr    net.Addr
	binding binding
	park    bool

	reserve fdReserve
	moving  sync.Mutex // serialises what changes the binding; Accept, State and Stats never take it
	queue   backlog    // guarded by moving

	mu      sync.Mutex // guards the fields below
	state   State
	l       net.Listener  // while opened
	changed chan struct{} // closed and replaced when state changes
	kept    []net.Conn    // accepted as a parked gate was shut, for the next Open
	backlog int           // of an open gate, 0 is the system's
	sized   time.Time     // when Accept has set it again
	drained bool          // shut by Drain, for which what is in hand still enters
	stats   GateStats
}

var (
	_ net.Listener = (*Gate)(nil)
	_ offerer      = (*Gate)(nil)
)

// State says whether a [Gate] lets clients in.
type State int

// The states of a Gate.
const (
	Closed State = iota // Closed refuses clients, or parks them, until Open. It is the state of a gate that is shut.
	Opened              // Opened lets clients in, until Shut.
	Done                // Done is final: Close was called, after which the state is not Closed.
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

// GateStats are the counts of a [Gate].
type GateStats struct {
	// Accepted is how many connections Accept has returned.
	Accepted uint64
	// Reset is how many connections the gate had accepted and not yet returned when it
	// was shut or closed, and has reset.
	Reset uint64
	// AcceptErrors is how many errors of the listener underneath, such as EMFILE, were
	// waited out.
	AcceptErrors uint64
	// Openings is how many calls of Open have opened the gate.
	Openings uint64
}

// NewGate returns a closed Gate over a listener that listens already, such as one
// inherited from systemd, and owns it from now on: Close closes l. While the gate
// is closed clients wait in l's queue.
//
// An Accept of l that is under way when the gate is shut is ended through l's
// SetDeadline, which the listeners of package net have. A listener without it, such as
// that of tls.NewListener, goes on to wait in a goroutine, until it is closed; the
// connection that it yields is kept for the next Open.
//
// NewGate panics if l is nil.
func NewGate(l net.Listener) *Gate {
	if l == nil {
		panic("listener: NewGate with nil listener")
	}
	g := newGate(nil, l.Addr(), true)
	g.binding = parked{l, wakeable(l, g.wasReset)}
	return g
}

func newGate(b binding, addr net.Addr, park bool) *Gate {
	return &Gate{binding: b, addr: addr, park: park, changed: make(chan struct{})}
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
	l, err := g.binding.listen(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	n := g.backlog
	g.mu.Unlock()
	g.queue.set(l, n)
	g.become(Opened, l)
	return nil
}

// Shut turns clients away again, or parks them. Accepted connections live on; a
// connection that was on its way out of Accept is reset by a gate that refuses and
// kept for the next Open by one that parks. Shut of a closed gate does nothing and
// returns nil; after Close it returns net.ErrClosed. After another error, such as
// that a process has put its own Unix socket in our place, the gate is closed all
// the same, and Open tries to get the address back.
func (g *Gate) Shut() error { return g.shut(false) }

// shut is Shut. For a drain, what was accepted before comes out of offer, which then
// returns errDrained until the gate is opened or closed.
func (g *Gate) shut(drain bool) error {
	g.moving.Lock()
	defer g.moving.Unlock()
	g.mu.Lock()
	g.drained = drain && g.state != Done
	g.mu.Unlock()
	switch g.State() {
	case Closed:
		if drain {
			g.become(Closed, nil) // wakes an Accept that waits for Open
		}
		return nil
	case Done:
		return closedError("shut", g.addr)
	}
	l := g.become(Closed, nil)
	g.queue.restore(l) // clients of a parked gate wait there from now on
	return g.binding.leave(l)
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
	g.queue.restore(l) // other processes that have the socket wait there
	g.mu.Lock()
	kept := g.kept
	g.kept = nil
	g.stats.Reset += uint64(len(kept))
	g.mu.Unlock()
	for _, c := range kept {
		reset(c)
	}
	g.reserve.free(true)
	return g.binding.release(l)
}

// become changes the state, wakes all that wait for that, and returns the
// listener that was in use.
func (g *Gate) become(s State, l net.Listener) (was net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, g.l, g.state = g.l, l, s
	if s == Opened {
		g.stats.Openings++
		g.drained = false
	}
	close(g.changed)
	g.changed = make(chan struct{})
	return was
}

// File returns a duplicate of the socket that the gate listens on, for a successor
// that takes over while this process finishes: pass it in exec.Cmd.ExtraFiles, and the
// successor makes a Gate of it with net.FileListener and [NewGate]. As both have one
// socket, no client is refused or reset in between. (With SO_REUSEPORT each process has
// a queue of its own, and the clients in it are reset when the process ends: 432 of 5242
// requests in 40 handovers, and none of 4610 with a socket that is passed on.)
//
// From now on the file of a Unix socket is the successor's: neither Shut nor Close
// removes it, and Open after Shut fails. The caller closes the file. The error is
// net.ErrClosed after Close, errors.ErrUnsupported for a listener without a File
// method, and an error of its own for a gate that refuses and is closed: no socket
// listens.
func (g *Gate) File() (*os.File, error) {
	g.moving.Lock()
	defer g.moving.Unlock()
	g.mu.Lock()
	state, l := g.state, g.l
	g.mu.Unlock()
	if state == Done {
		return nil, closedError("file", g.addr)
	}
	f, err := g.binding.file(l)
	if err != nil {
		return nil, opError("file", g.addr, err)
	}
	return f, nil
}

// Accept waits for the gate to be open and for a client. The error is
// net.ErrClosed after Close, or the failure of the listener underneath if it is
// there to stay; shortages such as EMFILE are waited out.
func (g *Gate) Accept() (net.Conn, error) {
	for {
		a, err := g.offer()
		if !errors.Is(err, errDrained) {
			return a.conn, err
		}
		<-g.opening()
	}
}

// errDrained is offer's error while the gate is shut by a drain: nothing is in hand.
var errDrained = errors.New("drained")

// opening returns a channel that is closed when the gate is not drained any more.
func (g *Gate) opening() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.drained || g.state != Closed {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return g.changed
}

func (g *Gate) offer() (arrival, error) {
	for {
		l, opening, c, err := g.next()
		switch {
		case c != nil || err != nil:
			return arrival{conn: c, shut: opening}, err
		case l == nil:
			<-opening
			continue
		}
		a, err := acceptFrom(l, &g.reserve, opening, g.failed)
		if err != nil && !stopped(opening) { // the end of what has been shut is no failure
			return arrival{}, err
		}
		if err == nil && g.take(l, a.conn) {
			g.sizeAgain(l)
			return arrival{conn: a.conn, shut: opening}, nil
		}
	}
}

// next returns a kept connection, the end, or what there is to wait for; and a channel
// that is closed at the next change.
func (g *Gate) next() (net.Listener, <-chan struct{}, net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == Done {
		return nil, nil, nil, closedError("accept", g.addr)
	}
	if (g.state == Opened || g.drained) && len(g.kept) > 0 {
		c := g.kept[0]
		g.kept = g.kept[1:]
		g.stats.Accepted++
		return nil, g.changed, c, nil
	}
	if g.drained {
		return nil, nil, nil, errDrained
	}
	return g.l, g.changed, nil, nil
}

// take reports whether c, accepted from l, may leave the gate.
func (g *Gate) take(l net.Listener, c net.Conn) bool {
	g.mu.Lock()
	switch {
	case g.l == l || g.drained:
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

// takeBack is for a connection that take has let out and that was not handed to the
// caller before the gate was shut.
func (g *Gate) takeBack(c net.Conn) (<-chan struct{}, bool) {
	g.mu.Lock()
	if g.drained {
		g.mu.Unlock()
		return nil, false
	}
	if g.park && g.state == Opened {
		defer g.mu.Unlock()
		return g.changed, false
	}
	g.stats.Accepted--
	if g.park && g.state == Closed {
		g.kept = append(g.kept, c)
		g.mu.Unlock()
		return nil, true
	}
	g.stats.Reset++
	g.mu.Unlock()
	reset(c)
	return nil, true
}

// wasReset counts a connection that was accepted and is not wanted any more.
func (g *Gate) wasReset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Reset++
}

func (g *Gate) failed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.AcceptErrors++
}
