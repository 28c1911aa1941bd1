package backoff

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// Backoff is the reconnect loop of one long-lived client, or one retried job after the other:
// it knows the failures, the server's last hint, and the time of the next attempt. Its zero
// value is ready. It must not be copied, and its fields must not change once it is in use.
// Keep it outside of the objects that are built anew for each session.
//
// Next belongs to one goroutine. All other methods may be called beside it: an
// announcement arrives on the goroutine that reads the stream.
type Backoff struct {
	// Policy is the schedule and the limits.
	Policy Policy

	// Schedule is a schedule of one's own: the wait after so many failures in a row,
	// which are at least 1. It replaces the delays of Policy, whose limits still hold:
	// a longer wait than Max is cut to Max. Zero means at once, but not twice in a
	// row, and below zero the delay of Policy counts, so that no schedule is a hot
	// loop. Next calls it once before each wait, without a lock; a panic is passed on to
	// the caller of Next. Nil means the delays of Policy.
	//
	// For an object with a NextBackOff() time.Duration (cenkalti/backoff, opamp-go) it is
	// func(n int) time.Duration { if n == 1 { x.Reset() }; return x.NextBackOff() }, for
	// paho's func(attempt int), whose attempt 0 is the first connection, that function
	// itself. The other way round, nats.go's CustomReconnectDelay takes Policy.Delay.
	Schedule func(failures int) time.Duration

	// Splay spreads the attempt that follows the loss of a stable connection over
	// [0,Splay), in place of the schedule: all clients of a server lose it at once.
	// A sound value is the size of the fleet divided by the logins a second that
	// the server can do. Zero and less mean off.
	Splay time.Duration

	// SplayFirst spreads the very first attempt as well, and the first one after
	// Reset, for fleets that are started together. False means at once.
	SplayFirst bool

	// StableAfter is how long a session must live, from Up to Fail, for the failures
	// before it to be forgotten. Zero means Policy's Max, or 30s if that is unlimited.
	// Below zero failures are only forgotten by Reset.
	StableAfter time.Duration

	// Wake ends a scheduled or splayed wait early when a value arrives, for instance
	// because the network is back. It never ends a wait that the server asked for, a hint or a
	// window; a value that has to wait in the channel meanwhile is taken later. A value
	// in the channel at Up, or when a session ends, is stale and dropped. A wait after one
	// that was ended early lasts for the first delay of Policy at least, so that values
	// that never stop are no hot loop. Nil means none, and so does a closed channel.
	// See RetryNow as well.
	Wake <-chan struct{}

	// Rand returns draws from [0,1); Next calls it, without a lock. Nil means the
	// generator of math/rand/v2.
	Rand func() float64

	// OnWait is called before each wait, on the goroutine of Next and without a lock. It
	// is not called for the failure that ends the loop: that one is in Err. Nil means
	// none.
	OnWait func(Event)

	woken bool // the last wait was ended early; of Next alone

	mu       sync.Mutex // guards the fields below
	streak   streak     // since the last stable session
	attempts int        // begun
	trying   bool       // Next has returned true, and neither Fail nor Reset were called yet
	lost     bool       // Fail was called, and Next has not returned true yet
	up       time.Time  // when the session began; zero if there is none
	stable   bool       // what was lost last was a stable session
	window   time.Duration
	slot     time.Time // the last one used of the window; zero: to be drawn
	atOnce   bool      // the last failure was followed by a wait of 0
	sleeper  sleeper   // Next waits for it without mu
	hurried  bool      // by RetryNow, since Next was called
	stop     *Error
}

// Event is a wait that is about to begin.
type Event struct {
	Attempt  int           // Attempt is the number of the attempt after the wait, from 1, since the first or since Reset.
	Failures int           // Failures is the number of failures in a row before it.
	Err      error         // Err is the last failure without its outermost mark; nil after a clean end.
	Delay    time.Duration // Delay is how long the wait lasts unless Wake or the context ends it.
	Hinted   bool          // Hinted reports whether Err asked for the Delay, see [Hint].
}

// Next waits until the next attempt is due and reports whether there is to be one.
// False means stop for good, until Reset: the context is done, the policy is
// exhausted, or an error was permanent; Err says which. The first attempt is due at
// once, unless SplayFirst says otherwise.
//
// A wait that could not end before ctx's deadline or before MaxElapsed is not
// begun: Next may return false while ctx.Err() is still nil, so end the loop with
// b.Err() and not with ctx.Err(). If Fail was not called since the last Next, that
// counts as Fail(nil).
func (b *Backoff) Next(ctx context.Context) bool {
	own, failures := b.ownDelay()
	e, wake, ok := b.plan(ctx, own, failures)
	if !ok {
		return false
	}
	if e.Failures > 0 || e.Delay > 0 {
		if b.OnWait != nil {
			b.OnWait(e)
		}
		b.wait(ctx, e, wake)
	}
	return b.begin(ctx)
}

// Up says that the session is of use: the login succeeded. It starts the clock of
// StableAfter and forgets nothing yet.
func (b *Backoff) Up() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.up.IsZero() {
		b.up = time.Now()
	}
	b.slot = time.Time{}
	b.dropWakes()
}

// Fail says that the attempt failed or that its session was lost, and why. A
// session that ended cleanly, err being nil, was lost as well. If err is
// [Permanent], Next will stop; if it has a [Hint], that is the next wait.
//
// One attempt has one loss: the first Fail after a Next counts, later ones until the
// next Next do not, unless they are Permanent. So the reader and the writer of a
// connection may both report its end.
func (b *Backoff) Fail(err error) {
	hint, _ := Hint(err)
	permanent := errors.Is(err, ErrPermanent)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.lost {
		b.failLocked(err, hint)
	} else if permanent && b.stop == nil {
		b.streak.last = unmark(err)
	}
	if permanent {
		b.stopLocked(ending{cause: ErrPermanent})
	}
}

// SetWindow obeys a server that announced how long its whole fleet needs to come
// back, such as [Pacer.Window] says: from the next wait on, attempts are made at a
// random time within w after the loss and then exactly every w, until Up. It
// holds until it is replaced; zero and less end it. It is at most MaxHint. Of a window
// that is shorter than Policy's Min, as that of a small fleet, the slots that come
// before the scheduled delay are skipped, or they would be a hot loop while the
// server is down. A wait that is under way is not changed.
func (b *Backoff) SetWindow(w time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w = max(w, 0); w != b.window {
		b.window, b.slot = w, time.Time{}
	}
}

// Reset forgets the failures, the hint and the stop, so that the next attempt is due
// as the very first one was: for the next job, after a planned reload, or to go on
// after Next has returned false. It keeps the window. A wait that is under way is not
// changed, see RetryNow; an attempt that is under way has not failed unless Fail is
// called.
func (b *Backoff) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resetLocked()
}

// RetryNow is Reset that also ends the wait that is under way, of any kind: for a
// button "retry now", or for a machine that has been asleep, so that the wait that its
// server asked for is long over. It is not for events that reach a whole fleet
// at once.
func (b *Backoff) RetryNow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resetLocked()
	b.hurryLocked()
}

func (b *Backoff) resetLocked() {
	b.attempts, b.streak, b.stop = 0, streak{}, nil
	b.trying, b.lost, b.stable, b.atOnce = false, false, false, false
	b.up, b.slot = time.Time{}, time.Time{}
}

// Failures returns the number of failures in a row, which a session that has lived
// StableAfter ends.
func (b *Backoff) Failures() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stableLocked(time.Now()) {
		return 0
	}
	return b.streak.failures
}

// Err returns why Next returned false, an [*Error], and nil before that. In an ordinary
// shutdown it is the end of the context. It is for after the loop, and safe beside
// it.
func (b *Backoff) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop == nil {
		return nil
	}
	return b.stop
}

// begin begins the attempt, unless there is to be none since the wait began: a
// context and a timer that fire together are in no order (cenkalti/backoff#194).
func (b *Backoff) begin(ctx context.Context) bool {
	end := endingOf(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopLocked(end); b.stop != nil {
		return false
	}
	b.attempts++
	b.trying, b.lost = true, false
	b.up = time.Time{} // an Up that came late was of the attempt before
	return true
}

func (b *Backoff) failLocked(err error, hint time.Duration) {
	now := time.Now()
	if b.stable = b.stableLocked(now); b.stable {
		b.streak = streak{}
	}
	if !b.up.IsZero() {
		b.dropWakes()
	}
	b.streak.add(err, hint, now)
	b.up, b.trying, b.lost = time.Time{}, false, true
}

// stableLocked reports whether there is a session that has lived StableAfter.
func (b *Backoff) stableLocked(now time.Time) bool {
	after := b.StableAfter
	if after == 0 {
		if after = b.Policy.most(); after == forever {
			after = defaultMax
		}
	}
	return after > 0 && !b.up.IsZero() && now.Sub(b.up) >= after
}

// stopLocked stops for good if e is an end and nothing stopped it before.
func (b *Backoff) stopLocked(e ending) {
	if b.stop == nil && e.cause != nil {
		b.stop = &Error{b.attempts, b.streak.last, e.cause, e.ended}
	}
}

// draw returns a number from [0,1), whatever Rand returns.
func (b *Backoff) draw() float64 {
	if b.Rand == nil {
		return rand.Float64()
	}
	u := b.Rand()
	if u >= 1 {
		return math.Nextafter(1, 0)
	}
	if !(u >= 0) { // NaN as well
		return 0
	}
	return u
}
