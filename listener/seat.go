package listener

import (
	"context"
	"net"
	"syscall"
	"time"
)

// A seat is the address that a gate keeps. Its methods are called one at a time.
type seat interface {
	// listen makes clients acceptable.
	listen(ctx context.Context) (net.Listener, error)
	// leave undoes listen, and keeps the address.
	leave(l net.Listener) error
	// release gives the address up, from l's hands or, if l is nil, after leave.
	release(l net.Listener) error
}

// parked is a seat that always listens. While the gate is closed nobody accepts,
// and clients wait in the kernel's queue.
type parked struct{ l net.Listener }

func (p parked) listen(context.Context) (net.Listener, error) {
	return p.l, p.wake(time.Time{})
}

func (p parked) leave(net.Listener) error { return p.wake(time.Unix(1, 0)) }

func (p parked) release(net.Listener) error { return p.l.Close() }

// wake ends a blocked Accept with a deadline in the past. A listener without
// deadlines goes on waiting; the gate keeps what it then accepts.
func (p parked) wake(deadline time.Time) error {
	if l, ok := p.l.(interface{ SetDeadline(t time.Time) error }); ok {
		return l.SetDeadline(deadline)
	}
	return nil
}

// resize makes l's queue n connections long, as far as l and the system allow:
// through l's own SetBacklog, or listen(2).
func resize(l net.Listener, n int) error {
	switch l := l.(type) {
	case interface{ SetBacklog(n int) error }:
		return l.SetBacklog(n)
	case syscall.Conn:
		return setBacklog(l, n)
	}
	return nil
}
