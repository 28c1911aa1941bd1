package dbpool

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// The queue of callers, and the dials. No dial belongs to a caller: when one is through,
// its connection goes to the oldest caller in the queue.
//
//	Connect ──> queue: c1 c2 c3 | c4 c5        c1..c3 rely on a dial, c4 and c5
//	              ^             owed = 2       are owed one (DialStats.Waiting)
//	              │ oldest first
//	finished ─────┤  connection, and a caller is in the queue:  delivered to c1
//	              ├  connection, and the queue is empty:        a spare, for 30s
//	              ├  error, and c1..c3 need this dial:          delivered to c1
//	              └  error of a dial that no caller needs:      remembered only
//
// A caller may leave at any time. The dials go on: the first caller that is owed one
// relies on it from then on, or else it ends as a spare, which the next call of Connect
// takes instead of joining the queue.
//
// pump starts dials, and nothing else does: while a caller is owed one and a slot
// is free; after a failure only when the backoff is over, and one at a time. It
// runs after each event, so that no event needs to know what it allows. A slot is
// held from the start of a dial until its connection is delivered, taken or
// closed: so at most Parallel connections exist that the pool does not count.
//
// At all times the callers that rely on a dial, len(queue)-owed, are not more than the
// dials in progress: so no caller waits for a dial that does not exist.

// caller is one call of Connect.
type caller struct {
	ctx    context.Context // for the values that a dial begun for it sees
	since  time.Time
	warm   *warming    // nil unless it is Warm that calls
	result chan result // has room for the one that is ever sent
}

type result struct {
	conn driver.Conn
	err  error
}

// dialing is a dial in progress.
type dialing struct {
	since    time.Time
	flushes  int // the connector's generation when it began
	failures int // those of the connector when it began: equal ones make it a probe
	cancel   context.CancelFunc
}

// enter returns a spare connection, or else puts the caller into the queue.
func (c *Connector) enter(ctx context.Context) (*caller, driver.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, errClosed
	}
	if n := len(c.spares); n > 0 {
		s := c.spares[n-1] // the youngest
		s.timer.Stop()
		c.spares = slices.Delete(c.spares, n-1, n)
		c.releaseLocked() // the caller's pool has a place for it
		return nil, s.conn, nil
	}
	warm, _ := ctx.Value(warmKey{}).(*warming)
	if warm != nil && warm.failed && c.failures > 0 {
		return nil, nil, c.last
	}
	w := &caller{ctx: ctx, since: time.Now(), warm: warm, result: make(chan result, 1)}
	c.queue = append(c.queue, w)
	c.owed++
	c.pumpLocked()
	return w, nil, nil
}

// leave takes a caller out of the queue and returns the error of the last dial. It
// reports false if a result was delivered to the caller before.
func (c *Connector) leave(w *caller) (last error, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.queue, w)
	if i < 0 {
		return nil, false
	}
	if i < c.coveredLocked() {
		c.stats.Abandoned++
	}
	c.removeLocked(i)
	c.pumpLocked()
	return c.last, true
}

// pumpLocked finds a dial for the callers that are owed one: first among the dials that
// were abandoned and are fresh, then by starting new ones.
func (c *Connector) pumpLocked() {
	for c.owed > 0 && c.coveredLocked() < c.freshLocked() {
		c.coverLocked()
		c.stats.Adopted++
	}
	for c.owed > 0 && c.mayDialLocked() {
		c.startLocked(c.coverLocked())
	}
}

// mayDialLocked reports whether a dial may start now. If it may after a while, it
// sees to it that pump runs then.
func (c *Connector) mayDialLocked() bool {
	if c.dial.Parallel > 0 && c.slots >= c.dial.Parallel {
		return false
	}
	if c.failures == 0 {
		return true
	}
	probe := func(d *dialing) bool { return d.failures == c.failures }
	if slices.ContainsFunc(c.dials, probe) {
		return false
	}
	wait := time.Until(c.next)
	if wait <= 0 {
		return true
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.pump)
	} else {
		c.timer.Reset(wait)
	}
	return false
}

func (c *Connector) pump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pumpLocked()
}

// startLocked starts a dial, with the values of w's context.
func (c *Connector) startLocked(w *caller) {
	ctx, cancel := c.dial.limit(context.WithoutCancel(w.ctx), errTimeout)
	d := &dialing{since: time.Now(), flushes: c.generation, failures: c.failures, cancel: cancel}
	c.slots++
	c.dials = append(c.dials, d)
	c.stats.Dialing++
	c.stats.MaxDialing = max(c.stats.MaxDialing, c.stats.Dialing)
	go c.run(ctx, d)
}

// run is the goroutine of a dial. A driver that panics must not end a process that
// would have survived it: many run their queries in handlers of net/http. Nor must
// Dial.Overload, which looks at whatever drivers return.
func (c *Connector) run(ctx context.Context, d *dialing) {
	var conn driver.Conn
	var overloaded bool
	err := errNoResult // what remains if the driver ends the goroutine
	stop := context.AfterFunc(ctx, func() { c.overdue(ctx, d) })
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("dbpool: panic in a dial: %v\n\n%s", r, debug.Stack())
		}
		stop()
		d.cancel()
		if unwanted := c.finished(d, conn, err, overloaded); unwanted != nil {
			c.discard(unwanted)
		}
	}()
	conn, err = c.base.Connect(ctx)
	switch {
	case err != nil:
		overloaded = c.dial.Overload(err)
	case conn == nil:
		err = errNoResult
	}
}

var errNoResult = errors.New("dbpool: the driver returned neither a connection nor an error")

// finished is where every dial ends: delivered, kept as a spare, or returned to be
// discarded because the connector is closed or a flush came after the dial began.
func (c *Connector) finished(d *dialing, conn driver.Conn, err error, overloaded bool) (unwanted driver.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	inTime := c.endLocked(d)
	c.stats.Dialing--
	c.stats.DialTime += time.Since(d.since)
	if err != nil {
		c.releaseLocked()
		if inTime {
			c.failedLocked(d, err, overloaded)
		}
		c.pumpLocked()
		return nil
	}
	c.stats.Opened++
	c.failures, c.last = 0, nil
	switch {
	case c.closed:
		return conn
	case d.flushes < c.stale:
		c.againLocked()
		return conn
	case len(c.queue) > 0:
		if c.coveredLocked() == 0 {
			c.stats.Adopted++
		}
		c.releaseLocked()
		c.deliverLocked(result{conn: conn})
	default:
		c.keepLocked(conn)
	}
	c.pumpLocked()
	return nil
}

// againLocked lets a caller that relied on a dial be owed another one, since the first
// yielded a connection that a flush has ended. Its slot is still held.
func (c *Connector) againLocked() {
	c.stats.Expired++
	if n := c.coveredLocked(); n > len(c.dials) {
		c.queue[n-1].since = time.Now()
		c.owed++
	}
}

// overdue gives a dial up whose driver does not return at the end of its context.
// It keeps its slot, and what it yields in the end is welcome.
func (c *Connector) overdue(ctx context.Context, d *dialing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.endLocked(d) {
		return
	}
	if c.failedLocked(d, fmt.Errorf("dbpool: dial: %w", context.Cause(ctx)), false) {
		c.stats.Abandoned++
	}
	c.pumpLocked()
}

// failedLocked remembers a failure, once for all dials that began before it, and
// delivers it to the first caller in the queue, unless the dials that are left suffice.
// It reports whether it delivered it.
func (c *Connector) failedLocked(d *dialing, err error, overloaded bool) bool {
	c.stats.Failed++
	if overloaded {
		c.stats.Overloaded++
	}
	c.last = err
	if d.failures == c.failures {
		c.failures++
		c.next = time.Now().Add(c.dial.Backoff.Delay(c.failures))
	}
	c.dismissLocked(err)
	if c.coveredLocked() > len(c.dials) {
		c.deliverLocked(result{err: err})
		return true
	}
	return false
}

// dismissLocked delivers a failure to the callers that are owed a dial and want no second
// try, which are those of Warm. Callers of the same Warm that come later get it in enter.
func (c *Connector) dismissLocked(err error) {
	for i := len(c.queue) - 1; i >= c.coveredLocked(); i-- {
		if w := c.queue[i]; w.warm != nil {
			c.removeLocked(i)
			w.end(result{err: err})
		}
	}
}

// deliverLocked ends the wait of the first caller in the queue.
func (c *Connector) deliverLocked(r result) {
	w := c.queue[0]
	c.removeLocked(0)
	w.end(r)
}

// end ends a caller's wait. The Connector's lock is held.
func (w *caller) end(r result) {
	if w.warm != nil && r.err != nil {
		w.warm.failed = true
	}
	w.result <- r
}

// coveredLocked returns how many callers rely on a dial.
func (c *Connector) coveredLocked() int { return len(c.queue) - c.owed }

// freshLocked returns how many dials a new caller may rely on.
func (c *Connector) freshLocked() int {
	n := 0
	for _, d := range c.dials {
		if time.Since(d.since) < fresh {
			n++
		}
	}
	return n
}

// coverLocked lets the first caller that is owed a dial rely on one.
func (c *Connector) coverLocked() *caller {
	w := c.queue[c.coveredLocked()]
	c.owed--
	c.stats.WaitTime += time.Since(w.since)
	return w
}

// removeLocked takes the caller at i out of the queue.
func (c *Connector) removeLocked(i int) {
	if i >= c.coveredLocked() {
		c.owed--
		c.stats.WaitTime += time.Since(c.queue[i].since)
	}
	c.queue = slices.Delete(c.queue, i, i+1)
}

// endLocked takes a dial from those under way and reports whether it was there.
func (c *Connector) endLocked(d *dialing) bool {
	i := slices.Index(c.dials, d)
	if i < 0 {
		return false
	}
	c.dials = slices.Delete(c.dials, i, i+1)
	return true
}
