package listenertest

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// defaultBacklog is what Linux allows a listener since 5.4 (somaxconn).
const defaultBacklog = 4096

// A Listener is a net.Listener whose clients are in the same process. The
// methods of one may be called from any number of goroutines.
type Listener struct {
	mu       sync.Mutex // guards the fields below
	arrived  sync.Cond  // a connection to accept, an expired deadline, or the end
	queue    []*conn    // connected and not accepted, oldest first
	backlog  int
	dialers  list.List // of *dialer, waiting for a place in the queue
	dialed   int
	deadline deadline
	closed   bool
}

var _ net.Listener = (*Listener)(nil)

// dialer is a Dial that waits for a place in the queue.
type dialer struct {
	server *conn
	done   chan struct{} // closed once queued or refused
	queued bool          // set before done is closed
}

// New returns a Listener that is listening: clients are connected from now on,
// and wait for Accept as in a kernel's queue.
func New() *Listener {
	l := &Listener{backlog: defaultBacklog}
	l.arrived.L = &l.mu
	l.deadline.init(&l.mu, &l.arrived)
	return l
}

// Accept waits for the next connection, and returns net.ErrClosed once the
// listener is closed or os.ErrDeadlineExceeded after its deadline.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.opError("accept", net.ErrClosed)
		case l.deadline.expired:
			return nil, l.opError("accept", os.ErrDeadlineExceeded)
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue[0] = nil // not kept alive by the array
			l.queue = l.queue[1:]
			l.fillLocked()
			return c, nil
		}
		l.arrived.Wait()
	}
}

// Dial connects to the listener. Like a kernel it returns as soon as the
// connection is in the queue, accepted or not, and waits while the queue is
// full. A closed listener refuses with syscall.ECONNREFUSED.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	return l.DialFrom(ctx, nil)
}

// DialContext is Dial in the shape of http.Transport.DialContext; network and
// address are ignored.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.Dial(ctx)
}

// DialFrom is Dial by a client with the given address, which the server gets
// from RemoteAddr. With nil the client has an address of its own making.
func (l *Listener) DialFrom(ctx context.Context, local net.Addr) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, l.opError("dial", err)
	}
	client, d := l.dial(local)
	select {
	case <-d.done:
	case <-ctx.Done():
		if l.giveUp(d) {
			return nil, l.opError("dial", ctx.Err())
		}
	}
	if !d.queued {
		return nil, l.opError("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return client, nil
}

func (l *Listener) dial(local net.Addr) (net.Conn, *dialer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialed++
	if local == nil {
		local = Addr(fmt.Sprintf("client-%d", l.dialed))
	}
	client, server := pipe(local, l.Addr())
	d := &dialer{server: server, done: make(chan struct{})}
	if l.closed {
		close(d.done)
		return client, d
	}
	l.dialers.PushBack(d)
	l.fillLocked()
	return client, d
}

// giveUp takes d out of the line and reports whether it was still there.
func (l *Listener) giveUp(d *dialer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.dialers.Front(); e != nil; e = e.Next() {
		if e.Value == d {
			l.dialers.Remove(e)
			return true
		}
	}
	return false
}

// fillLocked moves waiting dialers into the queue.
func (l *Listener) fillLocked() {
	for l.dialers.Len() > 0 && len(l.queue) < l.backlog {
		d := l.dialers.Remove(l.dialers.Front()).(*dialer)
		d.server.queued = time.Now()
		l.queue = append(l.queue, d.server)
		d.queued = true
		close(d.done)
		l.arrived.Signal()
	}
}

// SetBacklog limits how many connected clients wait for Accept; those already
// in the queue stay. At first the limit is 4096. An n below 1 is an error.
func (l *Listener) SetBacklog(n int) error {
	if n < 1 {
		return fmt.Errorf("listenertest: backlog %d, must be at least 1", n)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backlog = n
	l.fillLocked()
	return nil
}

// Queued returns how many connected clients wait for Accept.
func (l *Listener) Queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// SetDeadline ends Accept, blocked or to come, at t; the zero time is never.
func (l *Listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline.setLocked(t)
	return nil
}

// Close refuses clients from now on, resets those that were not accepted, and
// ends Accept. Accepted connections live on. A second Close returns nil.
func (l *Listener) Close() error {
	l.mu.Lock()
	queue := l.queue
	l.queue, l.closed = nil, true
	l.deadline.setLocked(time.Time{})
	for l.dialers.Len() > 0 {
		close(l.dialers.Remove(l.dialers.Front()).(*dialer).done)
	}
	l.arrived.Broadcast()
	l.mu.Unlock()

	var errs []error
	for _, c := range queue {
		errs = append(errs, c.SetLinger(0), c.Close())
	}
	return errors.Join(errs...)
}

// Addr returns the same address for every Listener.
func (l *Listener) Addr() net.Addr { return Addr("listenertest") }

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
}

// Addr is the address of an in-memory connection's end. Its network is "pipe".
type Addr string

// Network returns "pipe".
func (Addr) Network() string { return "pipe" }

// String returns the name that the end goes by.
func (a Addr) String() string { return string(a) }

var (
	_ net.Addr  = Addr("")
	_ io.Closer = (*Listener)(nil)
)
