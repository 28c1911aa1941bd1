package dbpool

import (
	"context"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// Dial says how a [Connector] dials. Its zero value is ready.
type Dial struct {
	// Parallel is how many dials may be in progress at once. Zero means 4. A
	// connection that was dialed for a caller that has left counts as well, until
	// another caller takes it, so that a pool never has more than MaxOpen + Parallel
	// connections. Below zero there is no limit, neither on the dials nor on those
	// connections.
	Parallel int

	// Timeout is the longest that one call of Connect takes, its waits included, and
	// the longest that one dial takes, whether or not its caller is still there. It is
	// needed even where all callers have deadlines: the goroutine with which
	// database/sql opens connections for waiting callers has none, and there is only
	// one (golang/go#38185). Zero means 15s; below zero there is none.
	Timeout time.Duration

	// Backoff is the schedule of the probes after a failed dial, of which its Delay
	// is used; its limits on attempts and time do not apply. There is never a wait
	// before a dial has failed, and none after one has succeeded.
	Backoff backoff.Policy

	// Overload reports whether an error of a dial means "full" or "starting", which
	// [DialStats] counts. It is called on the dial's goroutine with each error of the
	// driver; if it panics, that is the error of the dial. Nil means an error
	// that has a method SQLState with the result 53300 or 57P03 (pgx and lib/pq on
	// PostgreSQL), or MySQL's error 1040.
	Overload func(error) bool
}

const (
	// defaultParallel keeps a server of two or more cores busy: a login on
	// PostgreSQL is mostly its own computing (8.7 ms against 0.045 ms for a query).
	defaultParallel = 4

	// defaultTimeout is what became of the deadline of an authentication in
	// percona/pmm#5338, where 3s had been too short to survive a storm.
	defaultTimeout = 15 * time.Second

	// spareLife is how long an abandoned connection waits for a caller to take it.
	spareLife = 30 * time.Second

	// fresh is the age up to which a new caller relies on an abandoned dial instead of
	// starting another one. After a second the first packet at least is lost: it is the
	// initial retransmission time-out of TCP (RFC 6298).
	fresh = time.Second
)

// withDefaults returns d with its zero fields resolved.
func (d Dial) withDefaults() Dial {
	if d.Parallel == 0 {
		d.Parallel = defaultParallel
	}
	if d.Timeout == 0 {
		d.Timeout = defaultTimeout
	}
	if d.Overload == nil {
		d.Overload = overload
	}
	return d
}

// limit ends ctx after the Timeout, with cause as its cause.
func (d Dial) limit(ctx context.Context, cause error) (context.Context, context.CancelFunc) {
	if d.Timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d.Timeout, cause)
}

// overload knows the servers that say so in a way common to their drivers. MySQL's
// error type has the number in a field: reading the text needs no reflection and
// no dependency.
func overload(err error) bool {
	if has, known := sqlState(err, "53300", "57P03"); known {
		return has
	}
	return mysqlError(err.Error(), "1040")
}

// DialStats are the counters of a [Connector]. All times are sums.
type DialStats struct {
	Opened     uint64 // Opened counts dials that yielded a connection.
	Failed     uint64 // Failed counts dials that did not, or not within the Timeout.
	Overloaded uint64 // Overloaded counts those of Failed that Dial.Overload recognized.
	Abandoned  uint64 // Abandoned counts dials in progress whose caller left.
	Adopted    uint64 // Adopted counts those of Abandoned that another caller took over, in progress or done.
	Expired    uint64 // Expired counts connections that no caller has got: none took it in time, it was dead by then, or a flush ended it.

	Flushed uint64 // Flushed counts the flushes, of which there is one a second at most.

	Dialing    int // Dialing is the number of dials in progress, those included that ignore the end of their context.
	MaxDialing int // MaxDialing is the largest Dialing so far.
	Waiting    int // Waiting is the number of callers without a dial in progress: they wait because of Parallel or of the backoff.
	Spare      int // Spare is the number of connections whose caller has left, and which wait for another.

	DialTime time.Duration // DialTime is how long all finished dials took.
	WaitTime time.Duration // WaitTime is how long all callers waited before a dial was in progress for them.
}
