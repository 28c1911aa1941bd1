package listenertest

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// conn is one end of an in-memory connection.
type conn struct {
	in, out       *stream
	local, remote net.Addr
	abort         atomic.Bool // Close resets instead of ending in order
	queued        time.Time   // when the server's end came into the queue
}

var _ net.Conn = (*conn)(nil)

func pipe(client, server net.Addr) (*conn, *conn) {
	up, down := newStream(), newStream()
	return &conn{in: down, out: up, local: client, remote: server},
		&conn{in: up, out: down, local: server, remote: client}
}

// Read returns the bytes of the other end, io.EOF after it has finished,
// and syscall.ECONNRESET after a reset.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write blocks only while 64 KiB are unread.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.opError("write", err)
}

func (c *conn) opError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// CloseWrite lets the other end read io.EOF once it has read all bytes.
func (c *conn) CloseWrite() error {
	c.out.end(false)
	return nil
}

// Close ends both directions; a second one returns net.ErrClosed.
func (c *conn) Close() error {
	c.out.end(c.abort.Load())
	if !c.in.leave() {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

// SetLinger with 0 makes Close a reset, as it does on a *net.TCPConn.
func (c *conn) SetLinger(sec int) error {
	c.abort.Store(sec == 0)
	return nil
}

// PeerClosed reports whether the other end has finished writing or is gone,
// as a kernel knows of a connection.
func (c *conn) PeerClosed() bool { return c.in.over() }

// Waited returns how long ago the server's end came into the queue, as a kernel
// knows of a connection, and 0 for the client's end.
func (c *conn) Waited() time.Duration {
	if c.queued.IsZero() {
		return 0
	}
	return time.Since(c.queued)
}

// LocalAddr is the address of this end.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the address of the other end.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.reading, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writing, t)
	return nil
}
