package backoff

import "time"

// meter measures how many completions a second a server does when it can do no
// more. That is known only where all places are taken, so it measures from one such
// moment to the next. In between, places may be empty because their clients are on
// their way. While half of them are taken the server is as busy as before, see
// [Pacer.MaxPending]; below that, time counts in proportion to the places taken
// (Little's law), or a server that was idle meanwhile would be taken for a slow one.
type meter struct {
	at    time.Time // until when time was counted
	full  time.Time // when all places were taken last
	since tally     // from then on
	sum   tally     // before that, of late
	count float64   // completions of all time
}

// tally is completions and the seconds they took.
type tally struct{ done, took float64 }

const (
	// apart is how long after a moment in which all places were taken there must be
	// another one, or what was between them says nothing.
	apart = time.Second

	// learned is after how many seconds the first guess is forgotten. What is missing of
	// them counts as if the guess were right, since the first completion may come
	// at once, of one that entered long before.
	learned = 0.1

	// memory is how many completions count at least. More do if they took less than
	// a second.
	memory = 16
)

// advance counts the time until now, in which that share of the places was taken.
func (m *meter) advance(now time.Time, taken float64) {
	full := taken >= 1
	if full && m.at.Sub(m.full) > apart {
		m.since = tally{}
	}
	m.since.took += min(2*taken, 1) * now.Sub(m.at).Seconds()
	m.at = now
	if !full {
		return
	}
	m.full = now
	if m.since.done > 0 {
		keep := max(1-min(m.since.took, m.since.done/memory), 0)
		m.sum.done = m.sum.done*keep + m.since.done
		m.sum.took = m.sum.took*keep + m.since.took
		m.count += m.since.done
		m.since = tally{}
	}
}

// rate is the completions a second.
func (m *meter) rate(guess float64) float64 {
	switch {
	case m.sum.done == 0:
		return guess
	case m.sum.took < learned:
		return (m.sum.done + guess*(learned-m.sum.took)) / learned
	}
	return m.sum.done / m.sum.took
}
