package ttlcache

import "time"

// A pace is how long loads have taken lately: their mean and mean deviation, each a
// moving average, as TCP estimates its round trips (RFC 6298).
type pace struct {
	took   time.Duration
	spread time.Duration
	loads  int // that were measured
}

const (
	paceWeight = 8 // of an average against the newest load
	paceKnown  = 8 // loads after which an average is believed
)

// learn takes one more load into account. A load that was cut says that loads may take
// longer, never that they are quick: learned as it is, it makes room for loads that begin
// even later and are cut even sooner, until none ends in time.
func (p *pace) learn(took time.Duration, cut bool) {
	if cut {
		took = max(took, p.took)
	}
	p.loads++
	if p.loads == 1 {
		p.took = took
		return
	}
	off := took - p.took
	p.took += off / paceWeight
	p.spread += (max(off, -off) - p.spread) / paceWeight
}

// measured reports whether enough loads were seen to refuse one that waits.
func (p *pace) measured() bool { return p.loads >= paceKnown }

// need is how long a load takes on average. Zero is unknown.
func (p *pace) need() time.Duration { return p.took }

// most is the time in which nearly all loads end.
func (p *pace) most() time.Duration { return p.took + 2*p.spread }
