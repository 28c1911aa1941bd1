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

// The heart of a Connector. Callers stand in one line; dials belong to nobody.
//
//	Connect ──> line: c1 c2 c3 | c4 c5         c1..c3 rely on a dial, c4 and c5
//	              ^            owed = 2        are owed one (DialStats.Waiting)
//	              │ oldest first
//	finished ─────┤  connection, and somebody is in line:  delivered to c1
//	              ├  connection, and nobody is:            a spare, for 30s
//	              ├  error, and c1..c3 need this dial:     delivered to c1
//	              └  error of a dial that nobody needs:    remembered only
//
// A caller may leave at any time. His dial goes on: the first who is owed one
// relies on it from then on, or else it ends as a spare, which the next caller of
// Connect takes before he gets in line.
//
// pump starts dials, and nothing else does: while somebody is owed one and a slot
// is free; after a failure only when the backoff is over, and one at a time. It
// runs after each event, so that no event needs to know what it allows. A slot is
// held from the start of a dial until its connection is delivered, taken or
// closed: what a pool does not know of is never more than Parallel.
//
// It holds at all times that len(line)-owed, those who rely on a dial, are not
// more than the dials under way: so nobody waits for nothing.

// caller is somebody in Connect.
type caller struct {
	ctx    context.Context // for the values that a dial begun for him sees
	since  time.Time
	warm   *warming    // nil unless it is Warm that calls
	result chan result // has room for the one that is ever sent
}

type result struct {
	conn driver.Conn
	err  error
}

// dialing is a dial under way.
type dialing struct {
	since    time.Time
	flushes  int // the connector's generation when it began
	failures int // those of the connector when it began: equal ones make it a probe
	cancel   context.CancelFunc
}

// enter returns a spare connection, or else puts the caller in line.
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
	c.line = append(c.line, w)
	c.owed++
	c.pumpLocked()
	return w, nil, nil
}

// leave takes a caller out of the line and returns the last dial's error. It
// reports false if something was delivered to him before.
func (c *Connector) leave(w *caller) (last error, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.line, w)
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

// pumpLocked finds a dial for those who are owed one: first among those that have
// been abandoned and are fresh, then by starting them.
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
// discarded because the connector is closed.
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
	case len(c.line) > 0:
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

// againLocked lets one who relied on a dial that yielded an unwanted connection be
// owed another. Its slot is still held.
func (c *Connector) againLocked() {
	c.stats.Expired++
	if n := c.coveredLocked(); n > len(c.dials) {
		c.line[n-1].since = time.Now()
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
// tells the first in line, unless the dials that are left suffice. It reports
// whether it told somebody.
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

// dismissLocked tells those who are owed a dial and want no second try, which are the
// callers of Warm: those in line now, and those of the same Warm that come later.
func (c *Connector) dismissLocked(err error) {
	for i := len(c.line) - 1; i >= c.coveredLocked(); i-- {
		if w := c.line[i]; w.warm != nil {
			c.removeLocked(i)
			w.end(result{err: err})
		}
	}
}

// deliverLocked ends the wait of the first in line.
func (c *Connector) deliverLocked(r result) {
	w := c.line[0]
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

// coveredLocked returns how many in line rely on a dial.
func (c *Connector) coveredLocked() int { return len(c.line) - c.owed }

// freshLocked returns how many dials a newcomer may rely on.
func (c *Connector) freshLocked() int {
	n := 0
	for _, d := range c.dials {
		if time.Since(d.since) < fresh {
			n++
		}
	}
	return n
}

// coverLocked lets the first who is owed a dial rely on one.
func (c *Connector) coverLocked() *caller {
	w := c.line[c.coveredLocked()]
	c.owed--
	c.stats.WaitTime += time.Since(w.since)
	return w
}

// removeLocked takes the caller at i out of the line.
func (c *Connector) removeLocked(i int) {
	if i >= c.coveredLocked() {
		c.owed--
		c.stats.WaitTime += time.Since(c.line[i].since)
	}
	c.line = slices.Delete(c.line, i, i+1)
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
