package storm

import (
	"math"
	"time"
)

// Oracle is the soonest moment, counted from the moment the server is first up, at
// which that share of the agents can be back, and stay, under the adversity of c. No
// policy is faster, however much it knows.
//
// Derivation. Each agent needs one lookup, and the upstream does C(t) of them a second
// at t: the capacity in fair weather, a share of it while the upstream is slow, none
// while it hangs, fails or has no server before it. The best policy loses nothing: it
// keeps the upstream busy from the first moment, and every lookup lets an agent in
// whose stream stays. So n agents are back at the t at which the integral of C over
// [0, t] is n. A second crash takes all streams and, with the server's memory, all
// verdicts: what was done before it is lost to any policy, and the integral begins
// again when the server is up for the second time.
//
// Three adversities leave C(t) alone: a wrong guess (the oracle knows better), deaf agents and
// impatient ones (enough of the others are at the door). The integral is that of a
// fluid: in whole lookups the last one ends up to one lookup later, which is left to
// the arms' tolerance.
func (c Config) Oracle(share float64) time.Duration {
	n := math.Ceil(share*float64(c.Agents) - 1e-9)
	work := time.Duration(n / c.Capacity * float64(time.Second))
	return c.finish(c.SecondOutage().To, work)
}

// finish is when work is done that is begun at from, both counted from the moment the
// server is first up, if it takes that long at the upstream's full speed.
func (c Config) finish(from, work time.Duration) time.Duration {
	bad, pace := c.BadPhase(), c.Adversity.Pace
	if c.Adversity.Fails {
		pace = 0
	}
	if before := bad.From - from; before > 0 {
		if work <= before {
			return from + work
		}
		from, work = bad.From, work-before
	}
	if left := bad.To - from; left > 0 {
		done := time.Duration(float64(left) * pace)
		if work <= done {
			return from + time.Duration(float64(work)/pace)
		}
		from, work = bad.To, work-done
	}
	return from + work
}
