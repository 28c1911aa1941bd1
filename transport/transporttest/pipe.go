package transporttest

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// pipeBuffer is how much a direction holds before Write waits, as a kernel's
// socket buffers do: with net.Pipe, which holds nothing, a handler would hang on a
// client that does not read.
const pipeBuffer = 64 << 10

// A pipeListener accepts in-memory connections, which idle inside a synctest
// bubble as sockets do not.
type pipeListener struct {
	accept chan net.Conn
	done   chan struct{}
	stop   sync.Once

	mu    sync.Mutex // guards the field below
	dials int
}

func newPipeListener() *pipeListener {
	return &pipeListener{accept: make(chan net.Conn), done: make(chan struct{})}
}

var _ net.Listener = (*pipeListener)(nil)

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.stop.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr("server") }

// dial has the signature of http.Transport.DialContext.
func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	l.dials++
	addr := pipeAddr("client-" + strconv.Itoa(l.dials))
	l.mu.Unlock()
	there, back := newDirection(), newDirection()
	client := &pipeConn{in: back, out: there, local: addr, remote: l.Addr()}
	select {
	case l.accept <- &pipeConn{in: there, out: back, local: l.Addr(), remote: addr}:
		return client, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: l.Addr(), Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: l.Addr(), Err: ctx.Err()}
	}
}

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// A pipeConn is one end of a connection.
type pipeConn struct {
	in, out       *direction
	local, remote net.Addr
}

var _ net.Conn = (*pipeConn)(nil)

func (c *pipeConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *pipeConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *pipeConn) LocalAddr() net.Addr         { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr        { return c.remote }

func (c *pipeConn) Close() error {
	c.in.close(func(d *direction) { d.unread = true })
	c.out.close(func(d *direction) { d.ended = true })
	return nil
}

func (c *pipeConn) SetDeadline(t time.Time) error {
	c.in.reads.set(t)
	c.out.writes.set(t)
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	c.in.reads.set(t)
	return nil
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	c.out.writes.set(t)
	return nil
}

// A direction carries bytes from one end to the other.
type direction struct {
	mu            sync.Mutex // guards the fields below
	changed       *sync.Cond
	buf           bytes.Buffer
	ended         bool // the writer has closed
	unread        bool // the reader has closed
	reads, writes deadline
}

func newDirection() *direction {
	d := new(direction)
	d.changed = sync.NewCond(&d.mu)
	d.reads.of, d.writes.of = d, d
	return d
}

func (d *direction) close(how func(*direction)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how(d)
	d.changed.Broadcast()
}

func (d *direction) read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.unread:
			return 0, net.ErrClosed
		case d.reads.passed:
			return 0, os.ErrDeadlineExceeded
		case d.buf.Len() > 0:
			d.changed.Broadcast()
			return d.buf.Read(p)
		case d.ended:
			return 0, io.EOF
		}
		d.changed.Wait()
	}
}

func (d *direction) write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := 0; ; {
		switch {
		case d.ended:
			return n, net.ErrClosed
		case d.unread:
			return n, io.ErrClosedPipe
		case d.writes.passed:
			return n, os.ErrDeadlineExceeded
		case n == len(p):
			return n, nil
		}
		if room := min(pipeBuffer-d.buf.Len(), len(p)-n); room > 0 {
			d.buf.Write(p[n : n+room])
			n += room
			d.changed.Broadcast()
			continue
		}
		d.changed.Wait()
	}
}

// A deadline fails the reads or the writes of a direction from some time on. Its
// fields are guarded by the direction's lock.
type deadline struct {
	of     *direction
	passed bool
	timer  *time.Timer
	serial int // of the timer: one that fired as it was replaced must not count
}

func (l *deadline) set(t time.Time) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.serial++
	wait := time.Until(t)
	l.passed = !t.IsZero() && wait <= 0
	l.of.changed.Broadcast()
	if t.IsZero() || l.passed {
		return
	}
	serial := l.serial
	l.timer = time.AfterFunc(wait, func() { l.pass(serial) })
}

func (l *deadline) pass(serial int) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.serial == serial {
		l.passed = true
		l.of.changed.Broadcast()
	}
}
