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
// net.ErrClosed after Close or, when all listeners have failed for good, what they
// died of. One that dies leaves the others.
type Merged struct {
	legs    []*leg
	start   sync.Once
	closing sync.Once
	closed  chan struct{}
	ready   chan struct{} // one value for each filled leg
	dead    chan struct{} // closed when all legs are, and then each connection was taken

	mu    sync.Mutex // guards the fields below and each leg's conn and err
	alive int
}

var _ net.Listener = (*Merged)(nil)

// A leg is one listener, with the connection that waits to be accepted.
type leg struct {
	l     net.Listener
	taken chan struct{}
	conn  net.Conn
	err   error
}

// Merge returns one listener that accepts from all of ls and owns them: Close
// closes them. It begins with the first Accept, with a goroutine for each, and
// then holds at most one connection of each that nobody has accepted yet.
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
		ready:  make(chan struct{}, len(ls)),
		dead:   make(chan struct{}),
		alive:  len(ls),
	}
	for _, l := range ls {
		if l == nil {
			panic("listener: Merge with nil listener")
		}
		m.legs = append(m.legs, &leg{l: l, taken: make(chan struct{}, 1)})
	}
	return m
}

// Accept waits for a connection on any of the listeners.
func (m *Merged) Accept() (net.Conn, error) {
	m.start.Do(m.run)
	for {
		select {
		case <-m.ready:
			if c := m.take(); c != nil {
				return c, nil
			}
		case <-m.dead:
			return nil, m.Err()
		case <-m.closed:
			return nil, closedError("accept", m.Addr())
		}
	}
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
		c, err := acceptFrom(l.l, nil, m.closed, func() {})
		if err != nil {
			m.bury(l, err)
			return
		}
		if !m.offer(l, c) {
			reset(c)
			return
		}
		select {
		case <-l.taken:
		case <-m.closed:
			return
		}
	}
}

// offer puts c where Accept finds it, unless the listener is closed.
func (m *Merged) offer(l *leg, c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if stopped(m.closed) {
		return false
	}
	l.conn = c
	m.ready <- struct{}{} // has room for all legs
	return true
}

// take takes the connection of the earliest leg that has one, which need not be
// the leg whose value was read from ready. After Close there is none.
func (m *Merged) take() net.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.legs {
		if c := l.conn; c != nil {
			l.conn = nil
			l.taken <- struct{}{} // was empty: the leg waits for it
			return c
		}
	}
	return nil
}

// bury remembers what a leg died of.
func (m *Merged) bury(l *leg, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if stopped(m.closed) {
		return // not a death of its own
	}
	l.err = err
	if m.alive--; m.alive == 0 {
		close(m.dead)
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

// Err returns what those listeners died of that have failed for good, joined, and
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

// Close closes all listeners and ends every Accept. A connection that nobody has
// accepted is reset, accepted ones live on. A second Close returns nil.
func (m *Merged) Close() (err error) {
	m.closing.Do(func() { err = m.close() })
	return err
}

func (m *Merged) close() error {
	var errs []error
	for _, c := range m.end() {
		reset(c)
	}
	for _, l := range m.legs {
		if err := l.l.Close(); !errors.Is(err, net.ErrClosed) { // one that has died may be closed
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// end marks the listener closed and returns what nobody has accepted.
func (m *Merged) end() []net.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.closed)
	var left []net.Conn
	for _, l := range m.legs {
		if l.conn != nil {
			left = append(left, l.conn)
			l.conn = nil
		}
	}
	return left
}
