package grpcconn

import (
	"context"
	"net"
	"sync"
	"time"
)

// A conn is a server's connection, above its transport security.
type conn struct {
	net.Conn
	ends     *Ends
	accepted []net.Conn // what Ends knows it by
	peer     string     // what calls know it by

	mu      sync.Mutex // guards the fields below
	leaving bool
	late    bool // streams are ended
	closed  bool
	calls   int       // that are being answered, streams not among them
	moved   time.Time // when a call last came or went
	streams map[*stream]struct{}

	writing sync.Mutex // held while the fields below are used, and over each Write
	out     frames
	owed    bool // GOAWAY is to be written between two frames
}

// A stream is one that is open.
type stream struct {
	ctx     context.Context //nolint:containedctx // that of the handler
	cancel  context.CancelCauseFunc
	leaving chan struct{} // closed when the connection is to end
}

func (c *conn) begin() { c.count(1) }
func (c *conn) done()  { c.count(-1) }

func (c *conn) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls += n
	c.moved = time.Now()
}

// closeLater closes the connection once no call has come or gone for the grace: gRPC
// writes an answer when its call is done, and a call may have been on its way. The
// client closes it before, unless it knows no GOAWAY.
func (c *conn) closeLater() {
	grace := max(c.ends.grace(), comeBack)
	time.AfterFunc(grace, func() {
		c.mu.Lock()
		quiet := c.calls == 0 && time.Since(c.moved) >= grace
		again := !quiet && !c.closed
		c.mu.Unlock()
		switch {
		case quiet:
			_ = c.Close()
		case again:
			c.closeLater()
		}
	})
}

func (c *conn) open(ctx context.Context) *stream {
	s := &stream{leaving: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[s] = struct{}{}
	if c.leaving {
		close(s.leaving)
	}
	if c.late {
		s.cancel(ErrLeaving)
	}
	return s
}

func (c *conn) end(s *stream) {
	c.mu.Lock()
	delete(c.streams, s)
	c.mu.Unlock()
	s.cancel(nil)
}

// leave ends the connection, see [Ends].
func (c *conn) leave() {
	c.mu.Lock()
	if c.leaving {
		c.mu.Unlock()
		return
	}
	c.leaving = true
	for s := range c.streams {
		close(s.leaving)
	}
	c.mu.Unlock()
	time.AfterFunc(c.ends.grace(), c.endStreams)
	c.goAway()
}

// endStreams ends what is left when the grace is over, and the connection after as
// long again.
func (c *conn) endStreams() {
	c.mu.Lock()
	c.late = true
	for s := range c.streams {
		s.cancel(ErrLeaving)
	}
	c.mu.Unlock()
	c.closeLater()
}

// Close forgets the connection.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.ends.forget(c)
	return c.Conn.Close()
}

// NetConn returns the connection underneath.
func (c *conn) NetConn() net.Conn { return c.Conn }
