package backoff

import "time"

// A meter measures how many completions a second a server does when it can do no more.
//
//	places taken
//	 all  |  ____   ____________        ________   measured: from one moment in which all
//	      | /    \_/            \      /           places were taken to the next, if there
//	 half |/                     \    /            is one within a second
//	      |                       \__/             time counts in proportion (Little's law)
//	      +----x-xx-x---x-x---------x----x-x--> time     x: a completion
//	                          |gap |
//
// Each completion ends a gap, and the rate is the completions divided by their gaps, of
// late. While places are empty because their clients are on their way the server may be
// as busy as ever: with half of them taken it is, see [Pacer.MaxPending].
type meter struct {
	at    time.Time // until when time was counted
	full  time.Time // when all places were taken last
	gaps  gaps      // of time in proportion
	since tally     // from full on
	sum   tally     // before that, of late

	// The same for a server whose places are never all taken: less exact, and of use
	// until there is a sum.
	any    gaps // of time in which any place was taken
	partly tally
}

// tally is completions and the seconds they took.
type tally struct{ done, took float64 }

const (
	// apart is how long after a moment in which all places were taken there must be
	// another one, or what was between them says nothing.
	apart = time.Second

	// learned is after how many seconds the first guess is forgotten. What is missing of
	// them counts as if the guess were right.
	learned = 0.1

	// memory is how many completions count at least. More do if they took less than
	// a second.
	memory = 16
)

// advance counts the time until now, in which that share of the places was taken.
func (m *meter) advance(now time.Time, taken float64) {
	full, took := taken >= 1, 0.0
	if !m.at.IsZero() {
		took = now.Sub(m.at).Seconds()
	}
	if full && m.at.Sub(m.full) > apart {
		m.since, m.gaps.now = tally{}, 0
	}
	m.gaps.now += min(2*taken, 1) * took
	if taken > 0 {
		m.any.now += took
	}
	m.at = now
	if !full {
		return
	}
	m.full = now
	if m.since.done > 0 {
		m.gaps.forget(m.sum.add(m.since))
		m.since = tally{}
	}
}

// done counts a completion. Busy says that the server did what it can.
func (m *meter) done(busy bool) {
	if took, ok := m.gaps.end(); ok {
		m.since.done++
		m.since.took += took
	}
	if took, ok := m.any.end(); ok && busy {
		m.any.forget(m.partly.add(tally{1, took}))
	}
}

// rate is the completions a second.
func (m *meter) rate(guess float64) float64 {
	if m.partlyKnown() {
		guess = m.partly.done / m.partly.took
	}
	if m.sum.took < learned {
		return (m.sum.done + guess*(learned-m.sum.took)) / learned
	}
	return m.sum.done / m.sum.took
}

// known reports whether nothing of the first guess is left in rate.
func (m *meter) known() bool { return m.sum.took >= learned || m.partlyKnown() }

func (m *meter) partlyKnown() bool { return m.partly.done >= memory/2 && m.partly.took > 0 }

// add returns how much of the time before late is kept.
func (t *tally) add(late tally) (keep float64) {
	keep = max(1-min(late.took, late.done/memory), 0)
	t.done = t.done*keep + late.done
	t.took = t.took*keep + late.took
	return keep
}

// gaps is the times between completions. A gap counts for at most twice the second
// longest in memory: a provider that pauses once is not slow, and one that pauses
// twice is. The very first gap does not count, since it may be a pause as well.
type gaps struct {
	now     float64    // seconds since the last completion
	long    [2]float64 // the longest in memory, the longest first
	unknown bool       // the last gap was the very first
}

// end ends a gap, and returns for how long it counts, if it does.
func (g *gaps) end() (took float64, ok bool) {
	took, g.now = g.now, 0
	if took > 0 { // or it is one more of the same moment
		g.unknown = g.long[0] == 0
		switch {
		case took > g.long[0]:
			g.long = [2]float64{took, g.long[0]}
		case took > g.long[1]:
			g.long[1] = took
		}
	}
	return min(took, 2*g.long[1]), !g.unknown
}

func (g *gaps) forget(keep float64) {
	g.long[0] *= keep
	g.long[1] *= keep
}
