package listener

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Pauses after an Accept that failed for want of resources: as in net/http, which
// however sleeps through Close and lets the private port wait with the public.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// acceptFrom accepts from l, with a descriptor in reserve or nil, until there is a
// connection, a failure that lasts, or stop. Each failure that passes is reported
// to failed.
func acceptFrom(l net.Listener, s *spare, stop <-chan struct{}, failed func()) (net.Conn, error) {
	pause := minPause
	for {
		c, err := s.accept(l)
		if err == nil || stopped(stop) || !passes(err) {
			return c, err
		}
		failed()
		if errors.Is(err, syscall.ECONNABORTED) {
			continue // one client's, and over
		}
		if !sleep(pause, stop) {
			return nil, err
		}
		pause = min(2*pause, maxPause)
	}
}

// passes reports whether an error of Accept leaves the listener alive.
func passes(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	for _, short := range shortages {
		if errors.Is(err, short) {
			return true
		}
	}
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// sleep reports whether it lasted for d.
func sleep(d time.Duration, stop <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
		return false
	}
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// reset closes c without a goodbye: the client gets ECONNRESET, and no TIME_WAIT
// stays behind. What has no linger time is closed in order.
func reset(c net.Conn) {
	if l := find[interface{ SetLinger(sec int) error }](c); l != nil {
		_ = l.SetLinger(0) // fails if the client has gone, which ends it as well
	}
	_ = c.Close()
}

// find looks for what implements T in c and the connections that it wraps.
func find[T any](c net.Conn) (found T) {
	for t := range chain(c) {
		if f, ok := t.(T); ok {
			return f
		}
	}
	return found
}

// chain yields c and the connections inside it, such as that of a *tls.Conn.
func chain(c net.Conn) func(yield func(net.Conn) bool) {
	return func(yield func(net.Conn) bool) {
		for c != nil && yield(c) {
			w, ok := c.(interface{ NetConn() net.Conn })
			if !ok {
				return
			}
			c = w.NetConn()
		}
	}
}

// closedError is what a closed listener returns.
func closedError(op string, addr net.Addr) error { return opError(op, addr, net.ErrClosed) }

// opError is for an address that may be nil, since a listener that somebody else
// wrote may have none.
func opError(op string, addr net.Addr, err error) error {
	e := &net.OpError{Op: op, Addr: addr, Err: err}
	if addr != nil {
		e.Net = addr.Network()
	}
	return e
}
