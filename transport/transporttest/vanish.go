package transporttest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Vanish silences the connections that are open now, as if their packets were lost
// from here on: a node went away, or a balancer forgot them. Requests on them are
// taken and never answered, and their end is not told to the client until Close.
// Connections that are opened later work, so a test can show how many requests a
// silent death costs. Bytes that are on their way at that moment may still arrive.
//
// It works over sockets as well, without the rights of root, with one difference from
// a real death: the operating system goes on to answer keep-alive probes.
func (s *Server) Vanish() { s.mortals.vanish() }

// mortals are the connections of a server, which may vanish.
type mortals struct {
	mu   sync.Mutex // guards the fields below
	open map[*mortal]bool
	gone []*mortal // vanished, and held open until the server closes
}

func (m *mortals) vanish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.open {
		c.vanished.Store(true)
		m.gone = append(m.gone, c)
	}
	clear(m.open)
}

// close ends vanished connections, which the server cannot.
func (m *mortals) close() {
	m.mu.Lock()
	gone := m.gone
	m.gone = nil
	m.mu.Unlock()
	for _, c := range gone {
		_ = c.Conn.Close()
	}
}

func (m *mortals) add(c net.Conn) *mortal {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = make(map[*mortal]bool)
	}
	added := &mortal{Conn: c, all: m}
	m.open[added] = true
	return added
}

// forget reports whether the connection is to be closed.
func (m *mortals) forget(c *mortal) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, c)
	return !c.vanished.Load()
}

// A mortalListener accepts connections that may vanish.
type mortalListener struct {
	net.Listener
	all *mortals
}

func (l mortalListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.all.add(c), nil
}

// A mortal is the server's end of a connection.
type mortal struct {
	net.Conn
	all      *mortals
	vanished atomic.Bool
}

// NetConn returns the connection inside.
func (c *mortal) NetConn() net.Conn { return c.Conn }

// Read discards bytes that come after the connection has vanished.
func (c *mortal) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if !c.vanished.Load() {
			return n, err
		}
		if err != nil {
			return 0, err
		}
	}
}

func (c *mortal) Write(p []byte) (int, error) {
	if c.vanished.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close tells the other end nothing if the connection has vanished.
func (c *mortal) Close() error {
	if c.all.forget(c) {
		return c.Conn.Close()
	}
	return c.SetReadDeadline(time.Unix(1, 0)) // ends a Read
}
