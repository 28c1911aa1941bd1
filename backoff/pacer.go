package backoff

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Pacer is a load shedder for servers, the admission control that goes with
// [Backoff]: it bounds how many logins are under way at once, and tells each client
// that it turns away when to come back. The slots follow each other at the rate at
// which the server completes logins, which is measured, so that the fleet is
// back as soon as the server can do it. A fleet that needs 25s makes 2.4 attempts a
// client for that, one that needs 1000s about 5.5.
//
// Slots are a promise that the server may be quicker than when it was made: no slot is
// further away than 12s until the rate has proved steady, see Horizon. A server that
// hangs and then works is not taken for a slow one.
//
// Clients that ignore their slots do little harm while all of them together come less
// often than the server completes; beyond that they take the places of those that obey.
//
// Its zero value is ready. It may be used by any number of goroutines, must not be
// copied, and its fields must not change once it is in use; see [Pacer.SetMaxPending].
// It remembers no client, so that it works the same behind several replicas.
type Pacer struct {
	// MaxPending is how many may be entered and unfinished at once. It should be at
	// least twice the logins that the server works on in parallel, or the rate is measured too
	// low, at worst by half; and no more than it finishes before its clients lose
	// patience. Zero means 256, and less for a slow server, see Patience; below zero
	// there is no limit, and no client is turned away.
	MaxPending int

	// Patience is how long clients wait for the answer to a login. MaxPending is at most
	// the measured rate times Patience, or the logins under way would be those of clients
	// that have left; it is not made smaller than four times the logins under way
	// when the quickest login was done. Zero means 2s if MaxPending is zero as well, and
	// trusts MaxPending if that is set; below zero Patience is off.
	Patience time.Duration

	// Rate is a first guess of the completions a second, forgotten as soon as they
	// are measured. Too high is safe, too low is slow. Zero and less (and NaN) mean
	// 1000.
	Rate float64

	// Horizon is the longest slot that is given. Zero means that it is learned: 12s
	// at first, up to the whole time that the fleet needs when the rate has been steady
	// for long. Below zero slots are given for the whole fleet from the start, which
	// saves attempts if the server is never slow and never hangs.
	Horizon time.Duration

	mu    sync.Mutex // guards the fields below
	stats PacerStats // without Rate
	live  bool       // SetMaxPending was called, with most
	most  int
	quick time.Duration // the shortest time from Enter to Done; 0: none yet
	line  line
	meter meter
}

// PacerStats are the counts of a [Pacer].
type PacerStats struct {
	Entered    uint64  // Entered counts calls of Enter that got a place.
	Finished   uint64  // Finished counts slots that were Done.
	Canceled   uint64  // Canceled counts slots that were Canceled.
	TurnedAway uint64  // TurnedAway counts calls of Enter that got a BusyError.
	Pending    int     // Pending is how many are entered and unfinished.
	Rate       float64 // Rate is the completions a second, as measured while the server was busy; the first guess before that.
}

// Slot is a place in a [Pacer]. The methods of a nil Slot do nothing.
type Slot struct {
	pacer   *Pacer
	entered time.Time
	ended   atomic.Bool
}

// BusyError is the error of [Pacer.Enter] for a client that is turned away. Its RetryAfter
// is a [Hint].
type BusyError struct{ after time.Duration }

// Error says when to come back.
func (e *BusyError) Error() string { return fmt.Sprintf("backoff: busy, come back in %v", e.after) }

// RetryAfter is the time until the slot of this client. It is positive, and often less than
// a second: round it up where it becomes whole seconds, or Retry-After is 0.
func (e *BusyError) RetryAfter() time.Duration { return e.after }

const (
	defaultPending  = 256
	defaultPatience = 2 * time.Second
	defaultRate     = 1000 // too high is safe: it costs attempts and no time

	// The rates that are believed: steps of a nanosecond and of an hour.
	leastRate, mostRate = 1.0 / 3600, 1e9
)

// Enter takes a place, which Done or Cancel of the Slot gives back. If all are taken the
// error is a [*BusyError] that says when to come back. Pass it on: over HTTP as status
// 503 with the headers of transport.SetRetryAfter, which rounds up and adds
// milliseconds; over gRPC as RetryInfo. Enter never waits.
//
// Do not ignore the error: slot, _ := p.Enter() compiles and lets all clients in.
func (p *Pacer) Enter() (*Slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.forgetLocked(now)
	p.measureLocked(now)
	if p.stats.Pending >= p.mostLocked() {
		p.stats.TurnedAway++
		return nil, &BusyError{p.slotLocked(now)}
	}
	p.stats.Entered++
	p.stats.Pending++
	p.measureLocked(now) // the last place may have been taken
	return &Slot{pacer: p, entered: now}, nil
}

// Done gives the place back and counts as a completion, from which the rate is
// learned. Only the first Done or Cancel of a Slot does something, so that
// Cancel can be deferred.
func (s *Slot) Done() { s.end(true) }

// Cancel gives the place back without a completion: the client has left, or the
// work failed for a reason that says nothing about how fast the server is.
func (s *Slot) Cancel() { s.end(false) }

func (s *Slot) end(done bool) {
	if s == nil || s.ended.Swap(true) {
		return
	}
	p := s.pacer
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.measureLocked(now)
	taken := p.takenLocked()
	p.stats.Pending--
	if !done {
		p.stats.Canceled++
		return
	}
	p.stats.Finished++
	took := now.Sub(s.entered)
	if p.quick == 0 || took < p.quick {
		p.quick = max(took, 1)
	}
	p.meter.done(taken >= 0.5 || took >= 2*p.quick) // half of the places, or there is a queue
}

// SetMaxPending replaces MaxPending from now on, with the same meaning of zero and
// less. It may be called at any time: for a server whose share changes because
// replicas come and go. Logins under way stay.
func (p *Pacer) SetMaxPending(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.measureLocked(time.Now())
	p.live, p.most = true, n
}

// Window returns how long n clients need to come back at the measured rate. Announce it
// to clients while they are connected, for [Backoff.SetWindow]. While nothing was
// measured it is n divided by the first guess: set Rate if you announce windows.
// The rate is measured while the server is busy, see PacerStats; logins that come one
// by one measure nothing.
func (p *Pacer) Window(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return seconds(float64(max(n, 0)) / p.rateLocked())
}

// Stats returns the counts until now.
func (p *Pacer) Stats() PacerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Rate = p.rateLocked()
	return s
}

// forgetLocked forgets the slots when no client is under way: they were given to
// clients that do not use them, and would be idleness later. With one or two
// places that is a matter of seconds, since they are empty between two clients.
func (p *Pacer) forgetLocked(now time.Time) {
	if p.stats.Pending == 0 && (p.mostLocked() > 2 || now.Sub(p.meter.at) >= apart) {
		p.line = line{}
	}
}

// slotLocked is the time until the slot of a client that is turned away.
func (p *Pacer) slotLocked(now time.Time) time.Duration {
	d := p.line.slot(now, p.rateLocked(), p.Horizon, p.meter.gaps.now)
	if !p.meter.known() {
		p.line.peak = peak{} // a guess is no experience
	}
	return d
}

func (p *Pacer) rateLocked() float64 {
	guess := p.Rate
	if !(guess > 0) {
		guess = defaultRate
	}
	return min(max(p.meter.rate(min(guess, mostRate)), leastRate), mostRate)
}

// mostLocked is MaxPending as it is now.
func (p *Pacer) mostLocked() int {
	most, patience := p.MaxPending, p.Patience
	if p.live {
		most = p.most
	}
	switch {
	case most < 0:
		return math.MaxInt
	case most == 0:
		most = defaultPending
		if patience == 0 {
			patience = defaultPatience
		}
	}
	if patience <= 0 || !p.meter.known() {
		return most
	}
	patience = max(patience, 4*p.quick) // or a rate that is low since places are few makes them fewer
	n := p.rateLocked() * patience.Seconds()
	if n < float64(most) { // which, rounded up, may not fit into an int
		return max(int(n), 1)
	}
	return most
}

func (p *Pacer) takenLocked() float64 { return float64(p.stats.Pending) / float64(p.mostLocked()) }

func (p *Pacer) measureLocked(now time.Time) { p.meter.advance(now, p.takenLocked()) }

// seconds converts without overflow.
func seconds(s float64) time.Duration {
	if s *= float64(time.Second); s < float64(forever) {
		return time.Duration(math.Round(s))
	}
	return forever
}
