package listener

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"
)

// ErrPace is the error of Drain and Rebalance for a number per second that is NaN,
// zero or negative.
var ErrPace = errors.New("listener: connections per second must be positive")

// ErrDraining is the error of a Drain while another is under way, and of a Rebalance
// during a Drain or another Rebalance.
var ErrDraining = errors.New("listener: is draining already")

// drainLook is how often Drain asks sockets that are not wrapped whether they are
// closed, and Accept whether it holds a connection.
const drainLook = 10 * time.Millisecond

// A drain is a Drain or Rebalance that is under way. At most one goroutine waits.
type drain struct {
	final   bool          // a Drain
	changed chan struct{} // capacity 1: a connection came or went
	ended   chan struct{} // closed when a Drain begins during a Rebalance
}

// Drain lets the connections go to other replicas at a pace that those can bear: it
// stops accepting and then ends perSecond connections a second, in random order, until
// none is left. +Inf is all at once. With no more than half of the rate at which the
// others can log clients in, 10,000 agents moved with one attempt each and were away for
// 0.1s. Handlers of streams and of hijacked connections learn of it from [Leaving], but
// only if a limit that counts is set, such as a MaxConns beyond reach: without one Drain
// waits for them until ctx ends, unless end ends them or is nil.
//
// To stop accepting it shuts a [Gate], so that the clients of a gate that refuses go to
// another replica, and a health check can read it from State; and it closes any other
// listener, while Accept goes on to wait for Close so that the server does not end.
// Clients of a parked gate would wait: behind a balancer use a gate that refuses.
//
// A connection is told to end by [Leaving] and by end, which Drain calls in a goroutine for
// each connection, with the connection that Accept has returned. Let end say so in the
// protocol's own words and return: a close frame, a message on the stream, or for http.Server
// the function that [HTTPEnd] returns. It need not close the connection itself, but the
// connection must be closed. With nil Drain closes it. A request that a client has just sent
// over a connection that is closed under it fails, so prefer a protocol's own words. A
// connection that MaxAge or Rebalance has told before is ended as well, if it is still there.
//
// Drain returns nil when no connection is left and all calls of end have returned. It
// ends early, with an error, and leaves open connections alone:
//
//   - [ErrPace] if perSecond is NaN, zero or negative; nothing has been done.
//   - [ErrDraining] if another Drain is under way, which goes on.
//   - net.ErrClosed after Close.
//
// When ctx ends, Drain closes the rest at once and returns an error that says how many,
// for which errors.Is finds ctx.Err() and context.Cause. An error of the gate's Shut is
// joined to any of these, and does not stop Drain. Afterwards a gate may be opened
// again, and there may be another Drain.
//
// Connections of a type that is not wrapped (see [Throttle]) are asked every 10ms
// whether they are closed.
func (t *Throttled) Drain(ctx context.Context, perSecond float64, end func(net.Conn)) error {
	d, err := t.startDrain(perSecond, true)
	if err != nil {
		return err
	}
	defer t.endDrain(d)
	return errors.Join(t.stopAccepting(), t.endAll(ctx, d, newPace(perSecond), end))
}

// Rebalance ends perSecond connections a second, in random order, while more than
// share() are open, until ctx ends; meanwhile others are accepted. It sheds the excess
// of a replica to which the clients went while others restarted. Each connection that
// moves costs a login, so let perSecond be low, and share be the average of all
// replicas plus a tenth: connections of replicas at the average move for ever otherwise.
//
// share runs on the caller's goroutine, end as in Drain; nil closes. Rebalance waits for the
// calls of end that it has begun. The errors are Drain's, except that the end of ctx closes
// nothing and its error is context.Cause; when a Drain begins it is [ErrDraining]. It panics
// if share is nil.
func (t *Throttled) Rebalance(ctx context.Context, perSecond float64, share func() int, end func(net.Conn)) error {
	if share == nil {
		panic("listener: Rebalance with nil share")
	}
	d, err := t.startDrain(perSecond, false)
	if err != nil {
		return err
	}
	defer t.endDrain(d)
	var ends sync.WaitGroup
	defer ends.Wait()
	for pace := newPace(perSecond); ; {
		if err := t.waitDrain(ctx, d, pace.next(), nil); err != nil {
			return err
		}
		pace.took()
		if t.staying() > share() {
			if c := t.tellOne(); c != nil {
				ends.Go(func() { endConn(c, end) })
			}
		}
	}
}

// State reports whether connections are accepted: that of the [Gate] underneath, if
// there is one, Closed once Drain has begun, and Done after Close. A health check for a
// balancer reads it.
func (t *Throttled) State() State {
	t.mu.Lock()
	done, draining := t.done, t.drained || t.drainsLocked()
	t.mu.Unlock()
	switch g, ok := t.l.(*Gate); {
	case done:
		return Done
	case draining:
		return Closed
	case ok:
		return g.State()
	}
	return Opened
}

// drainsLocked reports whether a Drain is under way.
func (t *Throttled) drainsLocked() bool { return t.draining != nil && t.draining.final }

func (t *Throttled) startDrain(perSecond float64, final bool) (*drain, error) {
	if !(perSecond > 0) { // NaN
		return nil, fmt.Errorf("%w: %v", ErrPace, perSecond)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.draining
	switch {
	case t.done:
		return nil, closedError("drain", t.l.Addr())
	case was != nil && (was.final || !final):
		return nil, ErrDraining
	case was != nil:
		close(was.ended)
	}
	if final {
		close(t.left)
		t.untellLocked()
	}
	t.draining = &drain{final: final, changed: make(chan struct{}, 1), ended: make(chan struct{})}
	return t.draining, nil
}

func (t *Throttled) endDrain(d *drain) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining == d {
		t.draining = nil
	}
	if d.final {
		t.left = make(chan struct{})
	}
}

// stopAccepting is the first half of Drain.
func (t *Throttled) stopAccepting() error {
	if g, ok := t.l.(*Gate); ok {
		return g.shut(true)
	}
	t.mu.Lock()
	was := t.drained
	t.drained = true
	t.mu.Unlock()
	if was {
		return nil
	}
	t.sizing.Lock()
	t.queue.restore(t.l)
	t.sizing.Unlock()
	return t.l.Close()
}

// endAll is the second half of Drain.
func (t *Throttled) endAll(ctx context.Context, d *drain, p pace, end func(net.Conn)) error {
	var ends sync.WaitGroup
	for {
		if t.nothingLeft() {
			break
		}
		wait := p.next()
		if !t.anyUntold() {
			wait = -1
			if t.openNow() == 0 { // but one is on its way in
				wait = drainLook
			}
		}
		err := t.waitDrain(ctx, d, wait, d.changed)
		if err != nil {
			return t.cut(ctx, err)
		}
		if !p.due() {
			continue
		}
		if c := t.tellOne(); c != nil {
			p.took()
			ends.Go(func() { endConn(c, end) })
		}
	}
	returned := make(chan struct{})
	go func() { ends.Wait(); close(returned) }()
	select {
	case <-returned:
		return nil
	case <-ctx.Done():
		return nil // nothing is left that ctx could end
	}
}

func endConn(c net.Conn, end func(net.Conn)) {
	if end == nil {
		_ = c.Close()
		return
	}
	end(c)
}

// cut closes what is left if it is ctx that has ended.
func (t *Throttled) cut(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	n := 0
	for _, c := range t.openConns() {
		t.tell(c)
		_ = c.Close()
		n++
	}
	return fmt.Errorf("listener: %d connections were cut: %w", n, err)
}

// waitDrain waits for d, for ever if negative, or for changed, and returns why the
// drain is to end.
func (t *Throttled) waitDrain(ctx context.Context, d *drain, wait time.Duration, changed <-chan struct{}) error {
	var due <-chan time.Time
	if changed != nil && t.hasRaw() && (wait < 0 || wait > drainLook) {
		wait = drainLook
	}
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-changed:
	case <-d.ended:
		return ErrDraining
	case <-t.closed:
		return closedError("drain", t.l.Addr())
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return bothCauses(err, context.Cause(ctx))
	}
	return nil
}

func bothCauses(err, cause error) error {
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// A pace is a schedule of so many a second. What a late timer has missed is caught up
// within 20ms, not in a burst.
type pace struct {
	every time.Duration
	at    time.Time // the next
}

const paceSlack = 20 * time.Millisecond

func newPace(perSecond float64) pace {
	every := float64(time.Second) / perSecond
	if every > float64(math.MaxInt64/2) {
		every = math.MaxInt64 / 2
	}
	return pace{time.Duration(every), time.Now()}
}

// next is how long it takes until the next is due.
func (p *pace) next() time.Duration { return max(0, time.Until(p.at)) }

func (p *pace) due() bool { return p.next() == 0 }

func (p *pace) took() {
	earliest := time.Now().Add(-paceSlack)
	if p.at.Before(earliest) {
		p.at = earliest
	}
	p.at = p.at.Add(p.every)
}
