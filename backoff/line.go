package backoff

import (
	"math"
	"time"
)

// A line is the clients that were turned away and are to come back: how many there
// are, and until when. Clients are not remembered one by one.
//
// Their slots are spread evenly from now to end, and how far away the end may be is the
// law that DESIGN.md compares with others: a slot is a promise, and one that was made
// while the server was slow keeps its client away when the server is quick again.
//
//	need   count/rate: how long the server needs for all of them
//	sure   12s: so far ahead slots are given at once
//	share  of the need that is believed: steady/(steady+20s), where steady is how
//	       long the rate has stayed within a factor of 4; and never beyond 6*steady
//
// A line that is longer is folded: its clients come more often than the server takes them,
// and at its new pace the moment it has one. Each of them is told again when it
// comes, and by then more is known.
type line struct {
	seen    time.Time // until when those who came back were taken off count
	count   float64   // clients whose slots are ahead
	end     time.Time // the last slot that was given
	scatter float64   // in [0,1): where the last slot of a folded line was

	level float64   // the rate at since
	since time.Time // from when on the rate has been about level
	peak  peak
}

const (
	sure     = 12.0 // seconds; 8 costs 0.4 attempts more where need is 25s
	halfway  = 20.0 // seconds after which half of the need is believed
	reach    = 6.0  // times steady
	moved    = 4.0  // times the level: less is noise where 16 completions are all that is known
	patience = 14.0 // a server that completes nothing is asked again after 1/14 of the time it did not
)

// slot is the time until the slot of one more client. Idle is for how many seconds the
// server has been busy without a completion.
func (l *line) slot(now time.Time, rate float64, horizon time.Duration, idle float64) time.Duration {
	l.advance(now)
	l.count++
	span := max(l.span(now, rate, horizon), idle/patience)
	if horizon > 0 {
		span = min(span, horizon.Seconds())
	}
	ahead, step := l.end.Sub(now), span/l.count
	if ahead.Seconds()+step/2 < span {
		d := max(ahead+seconds(step), 1)
		if horizon > 0 {
			d = min(d, horizon)
		}
		l.end = now.Add(d)
		return d
	}
	l.scatter = math.Mod(l.scatter+math.Phi-1, 1) // even, however many they are
	return max(seconds(span*l.scatter), 1)
}

// advance takes off those whose slots have come.
func (l *line) advance(now time.Time) {
	ahead, before := l.end.Sub(now), l.end.Sub(l.seen)
	if ahead <= 0 || before <= 0 {
		l.count, l.end = 0, now
	} else {
		l.count *= float64(ahead) / float64(before)
	}
	l.seen = now
}

// span is how far ahead the last slot may be.
func (l *line) span(now time.Time, rate float64, horizon time.Duration) float64 {
	need := l.count / rate
	if horizon < 0 {
		return need
	}
	if l.since.IsZero() || rate > moved*l.level || rate < l.level/moved {
		l.level, l.since = rate, now
	}
	steady := now.Sub(l.since).Seconds()
	known := min(need*steady/(steady+halfway), reach*steady)
	return max(known, min(l.count/l.peak.of(now, rate), sure))
}

// peak is the highest rate of late. A server that is less than half as quick as it was may
// be so again soon, and until that is forgotten nearby slots are given for it.
type peak struct {
	rate float64
	at   time.Time
}

const forgotten = 8.0 // seconds, in which most of a peak is

func (p *peak) of(now time.Time, rate float64) float64 {
	keep := math.Exp(-now.Sub(p.at).Seconds() / forgotten)
	p.rate, p.at = max(p.rate*keep+rate*(1-keep), rate), now
	if p.rate > 2*rate {
		return p.rate
	}
	return rate
}
