package dbpool

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Connector dials for a pool: a few dials at the same time, one at a time while the
// server is away, and a dial whose caller has left serves the next caller. Make one with
// [NewConnector]; its methods may be called by any goroutine. It has goroutines only
// while it dials, and hands out the driver's own connections.
//
// It must not be copied. Use it for one pool: its limits and counters are those of one.
type Connector struct {
	base driver.Connector
	dial Dial // with its defaults resolved

	mu       sync.Mutex   // guards the fields below
	queue    []*caller    // callers in Connect, oldest first
	owed     int          // the last owed of them have no dial to rely on
	dials    []*dialing   // in progress and not overdue
	spares   []*abandoned // connections of abandoned dials, oldest first
	slots    int          // held by dials, by spares, and by spares being closed
	failures int          // failed dials in a row
	next     time.Time    // no probe before it while there are failures
	last     error        // of the last failed dial while there are failures
	timer    *time.Timer
	closed   bool
	drained  chan struct{} // closed once closed and no slot is held
	stats    DialStats

	pool       *flusher // of the pool that Open has opened on it, or nil
	generation int      // how often Flush was called
	stale      int      // dials and spares of an earlier generation are not wanted
	flushTo    time.Time
	flushed    time.Time // when the last flush was
	flushTimer *time.Timer
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

var (
	errClosed  = fmt.Errorf("dbpool: connector: %w", net.ErrClosed)
	errTimeout = fmt.Errorf("Dial.Timeout: %w", context.DeadlineExceeded)
)

// NewConnector returns a connector that dials through base as d says. It panics if
// base is nil.
func NewConnector(base driver.Connector, d Dial) *Connector {
	if base == nil {
		panic("dbpool: NewConnector with nil base")
	}
	return &Connector{base: base, dial: d.withDefaults(), drained: make(chan struct{})}
}

// Connect returns a connection that another caller has abandoned, or waits for a
// dial. It returns
//
//   - the driver's error as it is, if a dial failed for this caller;
//   - an error that wraps the cause of ctx's end, or [context.DeadlineExceeded] after
//     Dial.Timeout, and beside it the error of the last dial, if that failed;
//   - an error that wraps [net.ErrClosed] after [Connector.Close].
//
// A dial outlives its caller. It sees the values of the caller's
// context, and not its end.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := c.dial.limit(ctx, errTimeout)
	defer cancel()
	for ctx.Err() == nil {
		w, spare, err := c.enter(ctx)
		switch {
		case err != nil:
			return nil, err
		case w != nil:
			conn, err := c.await(ctx, w)
			if err == nil {
				c.settle(ctx)
			}
			return conn, err
		case c.adopt(ctx, spare):
			c.settle(ctx)
			return spare, nil
		}
	}
	return nil, ended(ctx, nil)
}

// adopt reports whether a connection that has waited for a caller still lives; if
// not, it is closed. One round trip is little against a dial, and a dead one could
// be the third in a row for database/sql, which gives up then.
func (c *Connector) adopt(ctx context.Context, conn driver.Conn) bool {
	pinger, ok := conn.(driver.Pinger)
	alive := !ok || pinger.Ping(ctx) == nil
	if !alive {
		_ = conn.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if alive {
		c.stats.Adopted++
	} else {
		c.stats.Expired++
	}
	return alive
}

// await waits until a dial is delivered or ctx ends.
func (c *Connector) await(ctx context.Context, w *caller) (driver.Conn, error) {
	select {
	case r := <-w.result:
		return r.conn, r.err
	case <-ctx.Done():
	}
	if last, left := c.leave(w); left {
		return nil, ended(ctx, last)
	}
	r := <-w.result // delivered at the same moment, and not to be lost
	return r.conn, r.err
}

// ended returns why a caller left, and the error of the last dial beside it.
func ended(ctx context.Context, last error) error {
	err := context.Cause(ctx)
	if !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	switch {
	case last == nil:
		return fmt.Errorf("dbpool: no connection: %w", err)
	case errors.Is(last, driver.ErrBadConn):
		// As text only: database/sql would ask again, and wait twice more.
		return fmt.Errorf("dbpool: no connection: %w; last dial: %v", err, last)
	}
	return fmt.Errorf("dbpool: no connection: %w; last dial: %w", err, last)
}

// Driver returns the driver of the connector below.
func (c *Connector) Driver() driver.Driver { return c.base.Driver() }

// Unwrap returns the connector below.
func (c *Connector) Unwrap() driver.Connector { return c.base }

// Stats returns the counters so far.
func (c *Connector) Stats() DialStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Waiting, stats.Spare = c.owed, len(c.spares)
	return stats
}

// Close ends all calls of Connect, ends the context of all dials, closes the
// connections that no caller has taken, and waits for its goroutines, at most for
// Dial.Timeout (15s if that is off): a dial whose driver ignores its context is
// left behind, still counted by [DialStats], and its connection is closed should
// there ever be one. At last it closes the connector below if that is an
// [io.Closer], and returns its error. [database/sql.DB.Close] calls it. A second
// call does nothing.
func (c *Connector) Close() error {
	cancels, spares, again := c.shut()
	if again {
		return nil
	}
	if c.pool != nil {
		c.pool.close()
	}
	for _, cancel := range cancels {
		cancel()
	}
	for _, s := range spares {
		c.discard(s.conn)
	}
	timeout := c.dial.Timeout
	if timeout < 0 {
		timeout = defaultTimeout
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-c.drained:
	case <-timer.C:
	}
	if closer, ok := c.base.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
