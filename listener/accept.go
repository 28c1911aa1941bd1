package listener

import (
	"errors"
	"net"
	"time"
)

// Pauses after an Accept that failed for want of resources: as in net/http, which
// however sleeps through Close and lets the private port wait with the public.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// maxClientErrors is how many errors in a row are taken for those of single clients.
// Beyond it each costs a pause: a firewall or a sandbox that refuses every accept(2)
// would otherwise keep a core busy.
const maxClientErrors = 1000

// An arrival is a connection that was accepted and not yet handed to the caller.
type arrival struct {
	conn net.Conn
	addr net.Addr        // of the client, nil if no limit needs it
	shut <-chan struct{} // closed when the gate that accepted it is shut; nil without a gate
}

// An offerer is a listener that tells when a connection must not be handed on.
type offerer interface {
	offer() (arrival, error)
	// takeBack ends a connection whose gate has been shut, or keeps it for the next
	// Open. It reports false if the gate is open to it again, until shut is closed.
	takeBack(c net.Conn) (shut <-chan struct{}, taken bool)
}

// withdrawn reports whether a's gate has been shut and a is l's again.
func (a *arrival) withdrawn(l net.Listener) bool {
	if !stopped(a.shut) {
		return false
	}
	var taken bool
	a.shut, taken = l.(offerer).takeBack(a.conn)
	return taken
}

// acceptFrom accepts from l, with a descriptor in reserve or nil, until there is a
// connection, a failure that lasts, or stop. Each failure that passes is reported
// to failed.
func acceptFrom(l net.Listener, r *fdReserve, stop <-chan struct{}, failed func()) (arrival, error) {
	pause := minPause
	for inARow := 1; ; inARow++ {
		a, err := r.accept(l)
		if err == nil {
			return a, nil
		}
		if stopped(stop) || !passes(err) {
			return arrival{}, err
		}
		failed()
		if isAny(err, clientErrors) && inARow <= maxClientErrors {
			continue
		}
		if !sleep(pause, stop) {
			return arrival{}, err
		}
		pause = min(2*pause, maxPause)
	}
}

// passes reports whether an error of Accept leaves the listener alive.
func passes(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	if isAny(err, clientErrors) || isAny(err, shortages) {
		return true
	}
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func isAny(err error, all []error) bool {
	for _, e := range all {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
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

// stopped reports whether stop is closed; nil never is.
func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// closedError is what a closed listener returns.
func closedError(op string, addr net.Addr) error { return opError(op, addr, net.ErrClosed) }

// opError is for an address that may be nil, since a listener of the caller's own
// type may have none.
func opError(op string, addr net.Addr, err error) error {
	e := &net.OpError{Op: op, Addr: addr, Err: err}
	if addr != nil {
		e.Net = addr.Network()
	}
	return e
}
