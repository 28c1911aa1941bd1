package dbpool

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"time"
)

const (
	// flushInterval is the least time between two flushes.
	flushInterval = time.Second

	// flushTick is how often the age of what is to be ended is corrected. In between
	// the age is too low by at most a tick. So what is opened up to one tick after a
	// flush counts as old, since database/sql notes when a connection was opened only
	// after it was delivered, and nothing is delivered within two.
	flushTick = 20 * time.Millisecond

	// flushHorizon bounds a flush of a pool without MaxLifetime.
	flushHorizon = time.Hour
)

// Flush ends every connection that was opened before the call: those that are idle at
// once, those in use when they come back, and those being dialed as soon as they are
// through, whose callers get another. Nothing in progress is interrupted. Call it when
// all connections lead to the wrong place, as after a failover:
//
//	if _, err := db.ExecContext(ctx, insert); dbpool.ReadOnly(err) {
//		connector.Flush()
//	}
//
// The pool dials anew as it needs to, within the limits of [Dial]. There is one flush a
// second at most: a call that comes earlier is done when the second is over, together
// with all others, and ends all connections opened before the last of them. Flush does not wait,
// and does nothing after [Connector.Close].
//
// It needs a pool that [Open] has opened on c: only Open knows the pool and its
// MaxLifetime, by which its connections are ended, and which [database/sql.DBStats]
// counts as MaxLifetimeClosed. Of other pools only the connections in c that no caller has
// got are ended. For as long
// as old connections are in use, at most MaxLifetime, or an hour if there is none, the
// pool's lifetime is Flush's: a lifetime that others set meanwhile, or have set since Open,
// is overwritten by that of Open.
func (c *Connector) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.generation++
	c.flushTo = time.Now()
	wait := flushInterval - time.Since(c.flushed)
	switch {
	case c.flushTimer != nil: // which may be about to run
	case c.flushed.IsZero() || wait <= 0:
		c.flushLocked()
	default:
		c.flushTimer = time.AfterFunc(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.flushTimer = nil
			if !c.closed {
				c.flushLocked()
			}
		})
	}
}

// flushLocked ends what was opened before flushTo.
func (c *Connector) flushLocked() {
	c.flushed = time.Now()
	c.stats.Flushed++
	c.stale = c.generation
	for len(c.spares) > 0 {
		s := c.spares[0]
		c.spares = c.spares[1:]
		s.timer.Stop()
		c.stats.Expired++
		go c.discard(s.conn) // Close waits for it: the slot is still held
	}
	if c.pool != nil {
		c.pool.flush(c.flushTo, len(c.queue))
	}
}

// settle waits until a new connection is by its age distinct from those that a flush
// is to end.
func (c *Connector) settle(ctx context.Context) {
	c.mu.Lock()
	wait := time.Until(c.flushTo.Add(2 * flushTick))
	c.mu.Unlock()
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done(): // the connection is there, and not to be lost
	}
}

// flusher ends a pool's connections by their age, which is the only thing by which
// database/sql ends single ones: with a MaxLifetime that is at each moment the time
// since the flush, those are too old that were opened before it.
type flusher struct {
	db       *sql.DB
	lifetime time.Duration // what Open has set

	mu     sync.Mutex // guards the fields below
	cutoff time.Time
	old    int64 // connections to be ended
	before int64 // MaxLifetimeClosed at the flush
	timer  *time.Timer
	closed bool
}

// flush begins to end connections that were opened before cutoff; of those that the
// pool counts so many are still being dialed.
func (f *flusher) flush(cutoff time.Time, dialing int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats := f.db.Stats()
	f.cutoff, f.old, f.before = cutoff, int64(stats.OpenConnections-dialing), stats.MaxLifetimeClosed
	f.tickLocked()
}

func (f *flusher) tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tickLocked()
}

func (f *flusher) tickLocked() {
	if f.closed || closed(f.db) != nil {
		return
	}
	age := time.Since(f.cutoff)
	if f.doneLocked(age) {
		f.db.SetConnMaxLifetime(f.lifetime)
		return
	}
	if age <= 2*flushTick {
		f.db.SetConnMaxLifetime(1 << 62) // for the next to be shorter, which wakes the pool's cleaner
	}
	f.db.SetConnMaxLifetime(max(age-flushTick, 1)) // 0 is unlimited
	if f.timer == nil {
		f.timer = time.AfterFunc(flushTick, f.tick)
	} else {
		f.timer.Reset(flushTick)
	}
}

// doneLocked reports whether all old connections have ended, or will by themselves.
func (f *flusher) doneLocked(age time.Duration) bool {
	horizon := f.lifetime
	if horizon <= 0 {
		horizon = flushHorizon
	}
	stats := f.db.Stats()
	return age >= horizon ||
		stats.MaxLifetimeClosed-f.before >= f.old ||
		age >= flushInterval && stats.InUse == 0 // the cleaner has had its time
}

func (f *flusher) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.timer != nil {
		f.timer.Stop()
	}
}

// ReadOnly reports whether err says that the server takes no writes, as a former
// primary says after a failover, or takes no logins now: SQLSTATE 25006 or 57P03, or
// one of MySQL's errors 1290 (if it is about read-only mode) and 1836. A transaction that
// its own client has made read-only fails with 25006 as well. See [Connector.Flush].
func ReadOnly(err error) bool {
	if err == nil {
		return false
	}
	if has, known := sqlState(err, "25006", "57P03"); known {
		return has
	}
	text := err.Error()
	return mysqlError(text, "1836") || mysqlError(text, "1290") && (strings.Contains(text, "read-only") || strings.Contains(text, "read_only"))
}

// sqlState reports whether an error in err's tree has one of two SQLSTATEs, and
// whether any has one: pgx joins the errors of all servers of a data source name.
func sqlState(err error, one, other string) (has, known bool) {
	if e, ok := err.(interface{ SQLState() string }); ok {
		state := e.SQLState()
		return state == one || state == other, true
	}
	var below []error
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		below = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		below = e.Unwrap()
	}
	for _, err := range below {
		h, k := sqlState(err, one, other)
		has, known = has || h, known || k
	}
	return has, known
}

// mysqlError reports whether the text of an error of MySQL's driver has the number.
func mysqlError(text, number string) bool {
	return strings.Contains(text, "Error "+number+":") || strings.Contains(text, "Error "+number+" (")
}
