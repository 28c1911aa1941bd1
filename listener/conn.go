package listener

import (
	"context"
	"net"
	"time"
)

// held is what a Throttled knows of a connection that it has let in.
type held struct {
	t        *Throttled
	addr     net.Addr
	source   *sourceCount  // nil if not counted
	since    time.Duration // accepted, after t.epoch
	prev     *held         // in the line of the pending
	next     *held
	pending  bool
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
	otherConn struct {
		net.Conn
		held
	}
)

// hold wraps c.
func (t *Throttled) hold(c net.Conn) (net.Conn, *held) {
	h := held{t: t, addr: c.RemoteAddr()}
	switch c := c.(type) {
	case *net.TCPConn:
		w := &tcpConn{c, h}
		return w, &w.held
	case *net.UnixConn:
		w := &unixConn{c, h}
		return w, &w.held
	}
	w := &otherConn{c, h}
	return w, &w.held
}

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
func (c *otherConn) NetConn() net.Conn { return c.Conn }

func (h *held) admit() { h.t.admit(h) }

// Admit tells the [Throttled] that accepted c, or the connection inside c, that
// the client has logged in: its pending place is free. It may be called often,
// and also after c is closed. c may be a *tls.Conn, or whatever has a method NetConn.
//
// Admit reports whether c came from a Throttled that counts its connections. It
// does not if none of MaxPending, MaxConns and PerSource was set as c was
// accepted, or if c was exempt.
func Admit(c net.Conn) bool {
	found := false
	for c := range chain(c) {
		if h, ok := c.(interface{ admit() }); ok {
			h.admit()
			found = true
		}
	}
	return found
}

// AdmitAddr is Admit for servers that know only the address of the client, such
// as gRPC with its peer. It reports whether a pending connection from there was
// found, and looks at all of them: prefer [Admit] where MaxPending is in the
// thousands. Clients of a Unix socket have no address that tells them apart.
func (t *Throttled) AdmitAddr(remote net.Addr) bool {
	if remote == nil || remote.String() == "" || remote.String() == "@" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := range t.pending.all() {
		if sameAddr(h.addr, remote) {
			t.pending.remove(h)
			t.wakeLocked()
			return true
		}
	}
	return false
}

func sameAddr(a, b net.Addr) bool {
	ta, ok := a.(*net.TCPAddr)
	tb, also := b.(*net.TCPAddr)
	if ok && also {
		return ta.Port == tb.Port && ta.IP.Equal(tb.IP) && ta.Zone == tb.Zone
	}
	return a != nil && a.Network() == b.Network() && a.String() == b.String()
}

type contextKey struct{}

// ConnContext remembers c for [AdmitContext], if a [Throttled] counts it. It is
// meant for http.Server.ConnContext.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if find[interface{ admit() }](c) == nil {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, c)
}

// AdmitContext is [Admit] for the connection that [ConnContext] has put into ctx,
// such as that of an HTTP request; before or after it was hijacked. Without one it
// reports false.
func AdmitContext(ctx context.Context) bool {
	c, ok := ctx.Value(contextKey{}).(net.Conn)
	return ok && Admit(c)
}
