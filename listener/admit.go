package listener

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// Admit tells the [Throttled] that accepted c, or the connection inside c, that
// the client has logged in: its pending place is free. It may be called often,
// and also after c is closed. c may be a *tls.Conn, or any type that has a method NetConn
// or Raw, or embeds a net.Conn: go-proxyproto's and cmux's connections for example.
//
// Admit reports whether c came from a Throttled that counts its connections. It
// does not if none of MaxPending, MaxConns, PerSource, PendingPerSource and MaxAge was
// set as c was accepted, if c was exempt, or if Limits.Raw is set.
func Admit(c net.Conn) bool {
	found := false
	for c := range chain(c) {
		if h, ok := c.(holder); ok {
			found = h.admit() || found
		}
	}
	return found
}

// A holder is a connection of a Throttled.
type holder interface {
	net.Conn
	hold() *held
	admit() bool
}

func (h *held) hold() *held { return h }

func (h *held) admit() bool {
	if !h.counted { // never changes once the connection is out
		return false
	}
	h.t.admit(h)
	return true
}

// ConnState admits a connection that is idle after a request, which means that it has been
// answered; an answered connection logs in no more. It is meant for http.Server.ConnState, on
// a port where not only agents log in: each health checker with an idle keep-alive
// connection would otherwise hold a pending place for PendingTimeout.
//
// A login that is refused is an answer as well, so let a handler that refuses one end
// the connection (w.Header().Set("Connection", "close")), if clients that fail are to
// count against MaxPending only while they are asked.
//
// HTTP/2 needs TLS for that. Without TLS (http.Protocols.SetUnencryptedHTTP2) ConnState
// takes a connection for answered as soon as it begins, and MaxPending limits nothing: there
// let the handlers admit.
func ConnState(c net.Conn, s http.ConnState) {
	if s == http.StateIdle && !begins(c) {
		Admit(c)
	}
}

// begins reports whether this is the first StateIdle of an HTTP/2 connection, which the
// server says when it begins, before any request.
func begins(c net.Conn) bool {
	tc := find[interface{ ConnectionState() tls.ConnectionState }](c)
	if tc == nil || tc.ConnectionState().NegotiatedProtocol != "h2" {
		return false
	}
	h := find[holder](c)
	return h != nil && h.hold().begins()
}

func (h *held) begins() bool {
	h.t.mu.Lock()
	defer h.t.mu.Unlock()
	first := !h.begun
	h.begun = true
	return first
}

// askTime is how long AdmitAddr waits for addresses that it asks for.
const askTime = 50 * time.Millisecond

// AdmitAddr is Admit for servers that know only the address of the client, such
// as gRPC with its peer. It reports whether a pending connection from there was
// found, and looks at all of them: prefer [Admit] where MaxPending is in the
// thousands. Clients of a Unix socket have no address that tells them apart.
//
// The address is the one that the connection's RemoteAddr returns, which is the
// client's if a PROXY protocol listener is below the Throttled, and the balancer's if
// it is on top: then use Admit. A connection whose address the server has not asked
// for is asked once, in the background, and AdmitAddr waits for 50ms at most.
func (t *Throttled) AdmitAddr(remote net.Addr) bool {
	if remote == nil || remote.String() == "" || remote.String() == "@" {
		return false
	}
	found, unknown := t.admitKnown(remote)
	if found || len(unknown) == 0 {
		return found
	}
	due := time.NewTimer(askTime)
	defer due.Stop()
	answered := make(chan struct{}, len(unknown))
	for _, c := range unknown {
		go func() {
			c.RemoteAddr() // remembers it
			answered <- struct{}{}
		}()
	}
	for range unknown {
		select {
		case <-answered:
		case <-due.C:
			found, _ = t.admitKnown(remote)
			return found
		}
	}
	found, _ = t.admitKnown(remote)
	return found
}

// admitKnown admits a pending connection that is known to be from remote, or returns
// those whose address must be asked for.
func (t *Throttled) admitKnown(remote net.Addr) (found bool, unknown []*otherConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := range t.pending.all() {
		addr, o := h.knownAddr()
		switch {
		case addr != nil && sameAddr(addr, remote):
			t.admitLocked(h)
			return true, nil
		case addr == nil && o != nil && !o.asks:
			unknown = append(unknown, o)
		}
	}
	for _, o := range unknown {
		o.asks = true
	}
	return false, unknown
}

// knownAddr returns the client's address if that needs no waiting, and the connection
// if it may.
func (h *held) knownAddr() (net.Addr, *otherConn) {
	switch c := h.conn.(type) {
	case *otherConn:
		return c.addr, c
	case *halfConn:
		return c.addr, &c.otherConn
	case *socketConn:
		return c.addr, &c.otherConn
	}
	return h.conn.RemoteAddr(), nil
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

// ConnContext remembers c for [AdmitContext] and [Leaving], if c is a connection of a
// [Throttled]. It is meant for http.Server.ConnContext.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if find[holder](c) == nil {
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
