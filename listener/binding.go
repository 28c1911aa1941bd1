package listener

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// A binding is the address that a gate keeps. Its methods are called one at a time.
type binding interface {
	// listen makes clients acceptable.
	listen(ctx context.Context) (net.Listener, error)
	// leave undoes listen, and keeps the address.
	leave(l net.Listener) error
	// release gives the address up. l is what listen returned, or nil after leave.
	release(l net.Listener) error
	// file returns a duplicate of the socket that listens, for another process,
	// which from now on owns the file of a Unix socket. l is as for release.
	file(l net.Listener) (*os.File, error)
}

// parked is a binding that always listens. While the gate is closed it does not
// accept, and clients wait in the kernel's queue.
type parked struct {
	l     net.Listener
	wakes wakes // l, or around it
}

func (p parked) listen(context.Context) (net.Listener, error) {
	return p.wakes, p.wakes.SetDeadline(time.Time{})
}

func (p parked) leave(net.Listener) error { return p.wakes.SetDeadline(time.Unix(1, 0)) }

func (p parked) release(net.Listener) error { return p.wakes.Close() }

func (p parked) file(net.Listener) (*os.File, error) {
	f, err := fileOf(p.l)
	if u, ok := p.l.(*net.UnixListener); ok && err == nil {
		u.SetUnlinkOnClose(false)
	}
	return f, err
}

// errNotListening is File's error at a gate that refuses.
var errNotListening = errors.New("the gate is closed, and no socket listens")

func fileOf(l net.Listener) (*os.File, error) {
	f, ok := l.(interface{ File() (*os.File, error) })
	switch {
	case l == nil:
		return nil, errNotListening
	case !ok:
		return nil, errors.ErrUnsupported
	}
	file, err := f.File()
	if err != nil {
		return nil, err
	}
	return passable(file)
}
