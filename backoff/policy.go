package backoff

import (
	"math"
	"math/rand/v2"
	"time"
)

// Policy is a schedule of delays and its limits. It is a comparable value without
// state; its zero value is ready, and any number of goroutines may share it.
//
// Jitter only shortens a delay, so Max is never exceeded, and no two clients meet
// at it. Any value of any field is safe: no delay is zero or negative.
type Policy struct {
	// Min is the ceiling of the first delay. Zero and less mean 500ms: without it the
	// loop would be hot. If Min exceeds Max, Max holds.
	Min time.Duration

	// Max is the hard ceiling of every scheduled delay, jitter included. Zero means
	// 30s; below zero there is no ceiling.
	Max time.Duration

	// Factor is by how much the ceiling grows with each failure. Zero (and NaN) means
	// 2. Delays never shrink: anything else below 1 means 1, no growth.
	Factor float64

	// Jitter is the share of a delay that is random: the delay is drawn evenly from
	// (d*(1-Jitter), d], where d is its ceiling, so its mean is d*(1-Jitter/2). Zero
	// (and NaN) means 0.5; below zero there is none; 1 and more mean all of it.
	Jitter float64

	// MaxAttempts is how many failures in a row end it with [ErrExhausted]: for
	// [Retry] the number of calls. Zero and less mean no limit.
	MaxAttempts int

	// MaxElapsed is for how long it may go on after the first failure since the last
	// success. A wait that would not end before is not begun: the end is
	// [ErrExhausted]. Zero and less mean no limit. Make it longer than Splay, windows and
	// hints, or the loop may end without a second attempt.
	MaxElapsed time.Duration

	// MaxHint is the most that a server may ask for, be it a hint or a window. Zero
	// means 10 times Max; below zero there is no limit. Raise it for fleets that
	// need longer.
	MaxHint time.Duration
}

const (
	defaultMin    = 500 * time.Millisecond
	defaultMax    = 30 * time.Second
	defaultFactor = 2   // 1.5 was slower for fleets under scarcity, see DESIGN.md
	defaultJitter = 0.5 // spreads a fleet and keeps a floor under the delay

	forever = time.Duration(math.MaxInt64)
)

// Delay returns the wait after n failures in a row, drawn anew at each call. It is
// positive and at most Max; n below 1 counts as 1. MaxAttempts and MaxElapsed do
// not apply.
func (p Policy) Delay(n int) time.Duration { return p.delay(n, rand.Float64()) }

// delay is Delay for a draw u from [0,1).
func (p *Policy) delay(n int, u float64) time.Duration {
	d := p.ceiling(n)
	return d - portion(d, p.jitter()*u)
}

// ceiling is the longest delay after n failures.
func (p *Policy) ceiling(n int) time.Duration {
	first, most := p.first(), p.most()
	if n <= 1 || first >= most {
		return min(first, most)
	}
	factor := p.factor()
	if factor == 2 {
		if shift := uint(n - 1); shift < 63 && first <= most>>shift {
			return first << shift
		}
		return most
	}
	d := float64(first) * math.Pow(factor, float64(n-1))
	if d >= float64(most) {
		return most
	}
	return time.Duration(d)
}

func (p *Policy) first() time.Duration {
	if p.Min <= 0 {
		return defaultMin
	}
	return p.Min
}

func (p *Policy) most() time.Duration {
	switch {
	case p.Max == 0:
		return defaultMax
	case p.Max < 0:
		return forever
	}
	return p.Max
}

func (p *Policy) factor() float64 {
	switch f := p.Factor; {
	case f >= 1:
		return f
	case f < 1 && f != 0:
		return 1
	}
	return defaultFactor // NaN as well
}

func (p *Policy) jitter() float64 {
	switch j := p.Jitter; {
	case j >= 1:
		return 1
	case j > 0:
		return j
	case j < 0:
		return 0
	}
	return defaultJitter // NaN as well
}

func (p *Policy) mostHint() time.Duration {
	switch {
	case p.MaxHint > 0:
		return p.MaxHint
	case p.MaxHint < 0 || p.most() > forever/10:
		return forever
	}
	return 10 * p.most()
}

// portion returns the share u of d, rounded down: for u below 1 it is below d,
// also where float64(d) is rounded up.
func portion(d time.Duration, u float64) time.Duration {
	return time.Duration(float64(d) * u)
}
