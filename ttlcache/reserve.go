package ttlcache

import "time"

// A reserve keeps slots for known credentials. It is lent to strangers while no known
// credential is due to be asked for again, and also while those that are due do not come:
// an agent that has left stays known.
type reserve struct {
	slots int
	wait  time.Duration                   // how long it is kept if no known credential comes
	life  time.Duration                   // how long if one does: each comes once in its life
	due   func(within time.Duration) bool // reports whether a known credential is due by then

	since time.Time // when strangers began to need it
	last  time.Time // when they last did
	known time.Time // when a known credential last came
}

const forever time.Duration = 1<<63 - 1

// ask notes that a load of the lane wants to begin.
func (r *reserve) ask(l lane, now time.Time) {
	if l != laneStranger {
		r.known = now
	}
}

// held returns how many slots are kept from strangers that need them, if a load takes
// that long.
func (r *reserve) held(now time.Time, load time.Duration) int {
	if now.Sub(r.last) > r.wait {
		r.since = now
	}
	r.last = now
	switch {
	case r.slots == 0:
		return 0
	case now.Sub(r.known) <= r.life && r.due(forever):
		return r.slots
	case !r.due(load):
		r.since = now
		return 0
	case now.Sub(r.since) > r.wait:
		return 0
	}
	return r.slots
}
