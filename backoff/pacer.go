package backoff

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Pacer is the server's half: it bounds what is under way at once, and gives whoever
// is turned away a slot in time to come back at. The slots follow each other at the
// rate at which the server finishes what it began, which is measured, so that the
// fleet is back as soon as the server can do it, with two attempts each. Clients that
// ignore their slots do little harm while all of them together come less often than
// the server finishes; beyond that they take the places of those who obey.
//
// Its zero value is ready. It may be used by any number of goroutines, must not be
// copied, and its fields must not change once it is in use. It remembers nobody,
// so that it works the same behind several replicas.
type Pacer struct {
	// MaxPending is how many may be entered and unfinished at once. It should be at
	// least twice what the server works on in parallel, or the rate is measured too
	// low, at worst by half; and no more than it finishes before its clients lose
	// patience. Zero means 256; below zero there is no limit, and nobody is turned
	// away.
	MaxPending int

	// Rate is a first guess of the completions a second, forgotten as soon as they
	// are measured. Too high is safe, too low is slow. Zero and less (and NaN) mean
	// 1000.
	Rate float64

	mu    sync.Mutex // guards the fields below
	stats PacerStats // without Rate
	next  time.Time  // the last slot that was given
	laid  float64    // the highest rate measured while slots may have to be closed up
	meter meter
}

// PacerStats is what a [Pacer] has counted.
type PacerStats struct {
	Entered    uint64  // Entered counts calls of Enter that got a place.
	Finished   uint64  // Finished counts slots that were Done.
	Canceled   uint64  // Canceled counts slots that were Canceled.
	TurnedAway uint64  // TurnedAway counts calls of Enter that got a BusyError.
	Pending    int     // Pending is how many are entered and unfinished.
	Rate       float64 // Rate is the completions a second, as measured while all places were taken; the first guess before that.
}

// Slot is a place in a [Pacer]. A nil Slot is valid, and its methods do nothing.
type Slot struct {
	pacer *Pacer
	ended atomic.Bool
}

// BusyError is what [Pacer.Enter] turns a client away with. Its RetryAfter is a [Hint].
type BusyError struct{ after time.Duration }

// Error says when to come back.
func (e *BusyError) Error() string { return fmt.Sprintf("backoff: busy, come back in %v", e.after) }

// RetryAfter is the time until the slot of this client. It is positive.
func (e *BusyError) RetryAfter() time.Duration { return e.after }

const (
	defaultPending = 256
	defaultRate    = 1000 // too high is safe: it costs attempts and no time

	// The rates that are believed: steps of a nanosecond and of an hour.
	leastRate, mostRate = 1.0 / 3600, 1e9
)

// Enter takes a place, which Done or Cancel of the Slot gives back. If there is none
// the error is a [*BusyError] that says when to come back: pass it on, as the header
// Retry-After for instance. Enter never waits.
func (p *Pacer) Enter() (*Slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.measureLocked(now)
	if most := p.mostPending(); p.stats.Pending >= most {
		p.stats.TurnedAway++
		return nil, &BusyError{p.slotLocked(now)}
	}
	p.stats.Entered++
	p.stats.Pending++
	p.measureLocked(now) // the last place may have been taken
	return &Slot{pacer: p}, nil
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
	p.measureLocked(time.Now())
	p.stats.Pending--
	if !done {
		p.stats.Canceled++
		return
	}
	p.stats.Finished++
	p.meter.since.done++
}

// Window returns how long n clients need to come back at the measured rate, or at
// the first guess before there is a measurement. Announce it to clients while
// they are connected, for [Backoff.SetWindow].
func (p *Pacer) Window(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return seconds(float64(max(n, 0)) / p.rateLocked())
}

// Stats returns what was counted until now.
func (p *Pacer) Stats() PacerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Rate = p.rateLocked()
	return s
}

// slotLocked is the time until the next slot that nobody has. Two numbers are all
// that is remembered: tickets for those turned away gain nothing with one server
// (1.98 attempts against 2.00) and mislead behind three replicas (2.91 of the
// bound against 1.01).
func (p *Pacer) slotLocked(now time.Time) time.Duration {
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(max(seconds(1/p.rateLocked()), 1))
	return p.next.Sub(now)
}

func (p *Pacer) rateLocked() float64 {
	guess := p.Rate
	if !(guess > 0) {
		guess = defaultRate
	}
	return min(max(p.meter.rate(min(guess, mostRate)), leastRate), mostRate)
}

func (p *Pacer) mostPending() int {
	switch {
	case p.MaxPending == 0:
		return defaultPending
	case p.MaxPending < 0:
		return math.MaxInt
	}
	return p.MaxPending
}

// measureLocked brings the rate up to date. Until each place was finished once, it may
// owe much to the guess, or to where in a round of its workers the server is; so
// slots that were given at a rate too low are closed up when it rises. Those who
// have them come late, but nobody after them.
func (p *Pacer) measureLocked(now time.Time) {
	most := float64(p.mostPending())
	known, before := p.meter.count, p.rateLocked()
	p.meter.advance(now, float64(p.stats.Pending)/most)
	if p.meter.count == known || known >= most {
		return
	}
	rate := p.rateLocked()
	if known == 0 {
		p.laid = min(before, rate)
	}
	if rate > p.laid {
		if ahead := p.next.Sub(now); ahead > 0 {
			p.next = now.Add(seconds(ahead.Seconds() * p.laid / rate))
		}
		p.laid = rate
	}
}

// seconds converts without overflow.
func seconds(s float64) time.Duration {
	if s *= float64(time.Second); s < float64(forever) {
		return time.Duration(s)
	}
	return forever
}
