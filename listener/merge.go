package listener

import (
	"errors"
	"net"
	"sync"
)

// Merged is several listeners behind one Accept, for servers that take one
// listener; http.Server.Serve may also be called once for each. All methods may be
// called from any number of goroutines.
//
// Accept prefers earlier listeners: a connection of the first is never behind one
// of the second, though it does not interrupt. It returns a connection,
// net.ErrClosed after Close or, when all listeners have failed for good, their
// errors. One that dies leaves the others.
type Merged struct {
	// OnDead, if not nil, is called when a listener has failed for good, which Accept
	// tells only when all have: a server that has lost one port goes on with the others,
	// and should say so. It is set before the first Accept, and runs on the goroutine
	// of that listener, or that of Accept if there is only one. Close is no failure.
	OnDead func(l net.Listener, err error)

	legs    []*leg
	start   sync.Once
	closing sync.Once
	closed  chan struct{}
	next    chan delivery // from any leg, for an Accept that waits
	dead    chan struct{} // closed when all legs are

	mu    sync.Mutex // guards the fields below and each leg's err
	alive int
}

var _ net.Listener = (*Merged)(nil)

// A leg is one listener. Its channel is unbuffered: what it has accepted stays in
// its hands until an Accept takes it.
type leg struct {
	l    net.Listener
	conn chan delivery
	err  error
}

// A delivery is a connection on its way from a leg to Accept.
type delivery struct {
	arrival
	leg *leg
}

// Merge returns one listener that accepts from all of ls and owns them: Close
// closes them. It begins with the first Accept, with a goroutine for each, and
// then holds at most one connection of each that is not accepted yet. A single
// one is accepted from directly.
//
// A limit belongs on the leg that it is for: Merge(private, Throttle(public, limits)).
//
// Merge panics if there is no listener, or a nil one.
func Merge(ls ...net.Listener) *Merged {
	if len(ls) == 0 {
		panic("listener: Merge without listeners")
	}
	m := &Merged{
		closed: make(chan struct{}),
		next:   make(chan delivery),
		dead:   make(chan struct{}),
		alive:  len(ls),
	}
	for _, l := range ls {
		if l == nil {
			panic("listener: Merge with nil listener")
		}
		m.legs = append(m.legs, &leg{l: l, conn: make(chan delivery)})
	}
	return m
}

// Accept waits for a connection on any of the listeners.
func (m *Merged) Accept() (net.Conn, error) {
	if stopped(m.closed) {
		return nil, closedError("accept", m.Addr())
	}
	if len(m.legs) == 1 {
		return m.direct(m.legs[0])
	}
	m.start.Do(m.run)
	for {
		d, err := m.receive()
		if err != nil {
			return nil, err
		}
		if !d.withdrawn(d.leg.l) { // shut, while d was between the leg and us
			return d.conn, nil
		}
	}
}

func (m *Merged) receive() (delivery, error) {
	for _, l := range m.legs { // what an earlier one has comes first
		select {
		case d := <-l.conn:
			return d, nil
		default:
		}
	}
	select {
	case d := <-m.next:
		return d, nil
	case <-m.dead:
		return delivery{}, m.Err()
	case <-m.closed:
		return delivery{}, closedError("accept", m.Addr())
	}
}

// direct is Accept with a single leg: no goroutine, whose wake-up would cost as much
// as the Accept.
func (m *Merged) direct(l *leg) (net.Conn, error) {
	if stopped(m.dead) {
		return nil, m.Err()
	}
	a, err := acceptFrom(l.l, nil, m.closed, func() {})
	if err == nil {
		return a.conn, nil
	}
	m.bury(l, err)
	if stopped(m.closed) {
		return nil, closedError("accept", m.Addr())
	}
	return nil, m.Err()
}

func (m *Merged) run() {
	if stopped(m.closed) {
		return
	}
	for _, l := range m.legs {
		go m.accept(l)
	}
}

// accept is the goroutine of a leg.
func (m *Merged) accept(l *leg) {
	for {
		a, err := acceptFrom(l.l, nil, m.closed, func() {})
		if err != nil {
			m.bury(l, err)
			return
		}
		if !m.deliver(delivery{a, l}) {
			return
		}
	}
}

// deliver offers a connection both to an Accept that looks for the leg's and to one
// that waits for any, until the leg's gate is shut. It reports false after Close.
func (m *Merged) deliver(d delivery) bool {
	for {
		select {
		case d.leg.conn <- d:
			return true
		case m.next <- d:
			return true
		case <-d.shut:
			if d.withdrawn(d.leg.l) {
				return true
			}
		case <-m.closed:
			reset(d.conn)
			return false
		}
	}
}

// bury remembers what a leg died of, and tells.
func (m *Merged) bury(l *leg, err error) {
	m.mu.Lock()
	if stopped(m.closed) || l.err != nil {
		m.mu.Unlock()
		return // not a death of its own, or an old one
	}
	l.err = err
	if m.alive--; m.alive == 0 {
		close(m.dead)
	}
	m.mu.Unlock()
	if m.OnDead != nil {
		m.OnDead(l.l, err)
	}
}

// Addr returns the address of the first listener.
func (m *Merged) Addr() net.Addr { return m.legs[0].l.Addr() }

// Addrs returns the addresses of all listeners, in their order.
func (m *Merged) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(m.legs))
	for i, l := range m.legs {
		addrs[i] = l.l.Addr()
	}
	return addrs
}

// Err returns the errors of the listeners that have failed for good, joined, and
// nil while all live. Close is no death.
func (m *Merged) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, l := range m.legs {
		errs = append(errs, l.err)
	}
	return errors.Join(errs...)
}

// Close closes all listeners and ends every Accept. A connection that is not
// accepted yet is reset, accepted ones live on. A second Close returns nil.
func (m *Merged) Close() (err error) {
	m.closing.Do(func() { err = m.close() })
	return err
}

func (m *Merged) close() error {
	close(m.closed)
	var errs []error
	for _, l := range m.legs {
		if err := l.l.Close(); !errors.Is(err, net.ErrClosed) { // one that has died may be closed
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
