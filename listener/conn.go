package listener

import (
	"io"
	"net"
	"syscall"
	"time"
)

// held is what a Throttled knows of a connection that it has let in. All fields but t
// and conn are guarded by t.mu.
type held struct {
	t        *Throttled
	conn     net.Conn      // as the caller has it
	source   *sourceCount  // nil if not counted
	since    time.Duration // accepted, after t.started
	prev     *held         // in the list of the pending
	next     *held
	index    int32 // in t.wrapped
	age      uint8 // between half of MaxAge, 0, and all of it, 255
	counted  bool  // under limits that count; never changes
	pending  bool
	begun    bool // HTTP/2 has begun
	raw      bool // not wrapped, and only in the list of the pending
	leaving  bool // told to end
	ended    bool // its end was called: by MaxAge, or the drain that is under way
	released bool
}

// The wrappers keep every method of what they embed, such as ReadFrom (sendfile),
// SyscallConn and CloseWrite, in one allocation.
type (
	tcpConn struct {
		*net.TCPConn
		held
	}
	unixConn struct {
		*net.UnixConn
		held
	}
	// A nestedConn is a tcpConn of another Throttled inside.
	nestedConn struct {
		*net.TCPConn
		held
		inner *tcpConn
	}
	otherConn struct {
		net.Conn
		held
		addr net.Addr // what RemoteAddr has returned; guarded by t.mu
		asks bool     // AdmitAddr has asked for it; guarded by t.mu
	}
	// The wrappers below have methods that not every connection has.
	halfConn   struct{ otherConn }
	socketConn struct{ halfConn }
)

// hold wraps c.
func (t *Throttled) hold(c net.Conn) (net.Conn, *held) {
	h := held{t: t}
	switch c := c.(type) {
	case *net.TCPConn:
		w := &tcpConn{c, h}
		return w, &w.held
	case *net.UnixConn:
		w := &unixConn{c, h}
		return w, &w.held
	case *tcpConn:
		w := &nestedConn{c.TCPConn, h, c}
		return w, &w.held
	}
	if _, ok := c.(closeWriter); !ok {
		w := &otherConn{Conn: c, held: h}
		return w, &w.held
	}
	if _, ok := c.(syscall.Conn); !ok {
		w := &halfConn{otherConn{Conn: c, held: h}}
		return w, &w.held
	}
	w := &socketConn{halfConn{otherConn{Conn: c, held: h}}}
	return w, &w.held
}

type closeWriter interface{ CloseWrite() error }

// Close closes the connection and frees its places.
func (c *tcpConn) Close() error {
	defer c.t.release(&c.held)
	return c.TCPConn.Close()
}

// Close closes the connection and frees its places.
func (c *unixConn) Close() error {
	defer c.t.release(&c.held)
	return c.UnixConn.Close()
}

// Close closes the connection and frees its places, also those inside.
func (c *nestedConn) Close() error {
	defer c.t.release(&c.held)
	return c.inner.Close()
}

// Close closes the connection and frees its places.
func (c *otherConn) Close() error {
	defer c.t.release(&c.held)
	return c.Conn.Close()
}

// NetConn returns the connection inside.
func (c *tcpConn) NetConn() net.Conn { return c.TCPConn }

// NetConn returns the connection inside.
func (c *unixConn) NetConn() net.Conn { return c.UnixConn }

// NetConn returns the connection inside.
func (c *nestedConn) NetConn() net.Conn { return c.inner }

// NetConn returns the connection inside.
func (c *otherConn) NetConn() net.Conn { return c.Conn }

// RemoteAddr is that of the connection inside, which may wait for it. AdmitAddr knows
// it from now on.
func (c *otherConn) RemoteAddr() net.Addr {
	addr := c.Conn.RemoteAddr()
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.addr = addr
	return addr
}

// ReadFrom copies r to the connection, by the ReadFrom inside if there is one.
func (c *otherConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// WriteTo copies the connection to w, by the WriteTo inside if there is one.
func (c *otherConn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.Conn) }

// CloseWrite is that of the connection inside.
func (c *halfConn) CloseWrite() error { return c.Conn.(closeWriter).CloseWrite() }

// SyscallConn is that of the connection inside.
func (c *socketConn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

// endedTCP reports whether c is closed.
func endedTCP(c *net.TCPConn) bool {
	rc, err := c.SyscallConn()
	return err != nil || rc.Control(nothing) != nil
}

// endedUnix reports whether c is closed.
func endedUnix(c *net.UnixConn) bool {
	rc, err := c.SyscallConn()
	return err != nil || rc.Control(nothing) != nil
}

func nothing(uintptr) {}
