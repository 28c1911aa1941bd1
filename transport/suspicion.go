package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A peer that vanishes, or a middlebox that forgets a connection, says nothing: each
// idle connection would cost a request its whole time-out. So the first request that
// ends without a byte of an answer speaks for all connections that have been silent
// for as long: they are suspect, and a request that gets one of them does not use it.
//
// If the host has answered another request meanwhile it is slow and not dead, and
// nothing is suspect. A connection that brings a byte is not suspect any more.

// redialTime is how long at least the connections to a host live that just lost all
// of them, so that a bad host costs one redial of its connections a second.
const redialTime = time.Second

// A suspicion is the state of one host. Times are by the clock of conns.
type suspicion struct {
	heard  atomic.Uint64 // when a byte of an answer last came
	before atomic.Uint64 // connections that are silent since then are suspect; 0 for none
	off    bool          // it is no single host

	mu sync.Mutex // guards the field below
	at time.Time  // when before was set
}

// suspects reports whether there may be suspect connections.
func (s *suspicion) suspects() bool { return s.before.Load() > 0 }

// suspect is called when a request that was sent at this time ran out of time. It got
// no byte of an answer if the host was not heard since.
func (s *suspicion) suspect(sent uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off || s.heard.Load() > sent || s.before.Load() >= sent {
		return
	}
	if now := time.Now(); s.at.IsZero() || now.Sub(s.at) >= redialTime {
		s.at = now
		s.before.Store(sent)
	}
}

// isSuspect reports whether a connection has been silent for too long. One that is
// not known, because net/http dialed it in vain, was last heard of as it became
// idle.
func (s *suspicion) isSuspect(c *conn, known bool, idle time.Duration) bool {
	before := s.before.Load()
	if known || before == 0 {
		return c.heard.Load() < before
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return idle > time.Since(s.at)
}

// drop closes a suspect or old connection, which no other request uses and to which nothing
// of this one was written, so that Base sends the request on another.
//
// Package httptrace says that a connection is its transport's to close. There is no
// other way to keep a request off it: CloseIdleConnections closes those to other
// hosts as well.
func (x *exchange) drop(c net.Conn) {
	x.dropped.Store(true)
	x.leave()
	x.reused.Store(false)
	shut(c)
}

// shut closes a connection without a farewell, which may have to wait.
func shut(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.Close()
}

// ranOutOfTime reports whether a failed request on a used connection ended by time.
func (x *exchange) ranOutOfTime(err error) bool {
	if !x.reused.Load() {
		return false
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	deadline, ok := x.orig.Context().Deadline() // of http.Client.Timeout, too
	return ok && !time.Now().Before(deadline)
}
