package ttlcache

import (
	"container/list"
	"sync"
	"time"
)

// admission is the concurrency limit over all credentials: it decides which loads run, wait
// or are refused.
//
// A load that begins late in its time is cut short and has asked for nothing. So a load
// waits only if it can be expected to end in time, and when a slot becomes free, loads
// that would be cut are refused instead. A pace says how long a load is expected to take.
type admission struct {
	queue   int           // loads that may wait
	timeout time.Duration // of a load with its wait; not above zero is none

	mu        sync.Mutex // guards the fields below
	slots     int        // loads at once
	reserve   reserve    // of the slots
	running   int
	strangers int // of the running
	lanes     [3]list.List
	streak    int // turns of known credentials since the last turn of a stranger
	pace      pace
	event     time.Time // when a load last began or ended
	stranger  time.Time // when one of a stranger last did
}

// A lane is a queue of tickets, the first in first out.
type lane int

// The lanes in the order in which they are served.
const (
	laneKnown    lane = iota // the credential was valid before
	laneStranger             // it was not
	laneRenewal              // the credential is known, and no caller waits
)

// A ticket is a load's place in the admission, which guards it.
type ticket struct {
	lane    lane
	end     time.Time     // of the load; zero is none
	patient time.Time     // when the last caller leaves; zero is never
	begin   func()        // starts the load
	refuse  func(error)   // tells the load that it will never begin
	place   *list.Element // nil when not waiting
}

// turns are tickets whose wait has ended. The caller of the admission tells them when it
// holds no lock.
type turns struct {
	begin  []*ticket
	refuse []*ticket
	err    error // for those refused
}

func (t turns) tell() {
	for _, x := range t.begin {
		x.begin()
	}
	for _, x := range t.refuse {
		x.refuse(t.err)
	}
}

// enter lets t begin, wait, or neither: then it returns an error.
func (a *admission) enter(t *ticket) (done turns, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.reserve.ask(t.lane, now)
	done = a.nextLocked(now) // the reserve may have been lent since the last turn
	if a.fitsLocked(t.lane, now) {
		a.takeLocked(t, now)
		done.begin = append(done.begin, t)
		return done, nil
	}
	wait := a.waitLocked(t.lane, now)
	if t.late(now.Add(wait), max(a.pace.need(), a.silenceLocked(t.lane, now))) {
		return done, &overload{wait, "no load can end in time"}
	}
	if a.waitingLocked() >= a.queue && !a.displaceLocked(t.lane, &done, now) {
		return done, &overload{wait, "too many loads are waiting"}
	}
	a.pushLocked(t)
	return done, nil
}

// leave ends a load that ran for took. A load that was cut might have taken longer.
func (a *admission) leave(t *ticket, took time.Duration, cut bool) turns {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.running--
	a.event = now
	if t.lane == laneStranger {
		a.strangers--
		a.stranger = now
	}
	if a.timeout > 0 {
		took = min(took, a.timeout) // one that ignored its end says little about the others
	}
	a.pace.learn(took, cut)
	return a.nextLocked(now)
}

// resize changes how many loads run at once, and how many of them are reserved.
func (a *admission) resize(slots, reserved int) turns {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slots, a.reserve.slots = slots, reserved
	return a.nextLocked(time.Now())
}

// join adds a caller that waits for t until patient; zero is for ever.
func (a *admission) join(t *ticket, patient time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.place == nil {
		return
	}
	if t.lane == laneRenewal {
		a.dropLocked(t)
		t.lane, t.patient = laneKnown, patient
		a.pushLocked(t)
		return
	}
	if patient.IsZero() || !t.patient.IsZero() && patient.After(t.patient) {
		t.patient = patient
	}
}

// drop takes back a ticket that waits, and reports whether it did.
func (a *admission) drop(t *ticket) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	waits := t.place != nil
	if waits {
		a.dropLocked(t)
	}
	return waits
}

func (a *admission) counts() (running, waiting int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running, a.waitingLocked()
}

// fitsLocked reports whether a load of the lane may begin.
func (a *admission) fitsLocked(l lane, now time.Time) bool {
	if a.running >= a.slots {
		return false
	}
	return l != laneStranger || a.strangers < a.slots-a.reserve.slots || a.strangers < a.generalLocked(now)
}

// generalLocked is how many slots strangers may use.
func (a *admission) generalLocked(now time.Time) int {
	return a.slots - a.reserve.held(now, a.pace.most())
}

func (a *admission) takeLocked(t *ticket, now time.Time) {
	a.running++
	a.event = now
	if t.lane == laneStranger {
		a.strangers++
		a.stranger = now
		a.streak = 0
	} else {
		a.streak++
	}
}

func (a *admission) waitingLocked() (n int) {
	for i := range a.lanes {
		n += a.lanes[i].Len()
	}
	return n
}

func (a *admission) pushLocked(t *ticket) { t.place = a.lanes[t.lane].PushBack(t) }

func (a *admission) dropLocked(t *ticket) {
	a.lanes[t.lane].Remove(t.place)
	t.place = nil
}

// displaceLocked makes room in the queue: a renewal goes for a caller, and the last
// stranger for a known credential, since it has waited least.
func (a *admission) displaceLocked(l lane, done *turns, now time.Time) bool {
	for _, from := range []lane{laneRenewal, laneStranger} {
		if last := a.lanes[from].Back(); last != nil && l < from {
			done.err = &overload{a.waitLocked(from, now), "another load took its place"}
			a.refuseLocked(last.Value.(*ticket), done)
			return true
		}
	}
	return false
}

func (a *admission) refuseLocked(t *ticket, done *turns) {
	a.dropLocked(t)
	done.refuse = append(done.refuse, t)
}

// strangersTurn is how many turns in a row known credentials have while strangers wait.
const strangersTurn = 7

// nextLocked takes tickets out of the lanes, as long as there are slots.
func (a *admission) nextLocked(now time.Time) (done turns) {
	order := [...]lane{laneKnown, laneStranger, laneRenewal}
	for a.running < a.slots {
		if a.streak >= strangersTurn {
			order = [...]lane{laneStranger, laneKnown, laneRenewal}
		}
		t := a.firstLocked(order, now, &done)
		if t == nil {
			break
		}
		a.dropLocked(t)
		a.takeLocked(t, now)
		done.begin = append(done.begin, t)
	}
	if len(done.refuse) > 0 && done.err == nil {
		done.err = &overload{a.waitLocked(laneStranger, now), "no load can end in time"}
	}
	return done
}

// firstLocked returns the first ticket that may begin. Those before it whose load would
// probably be cut are refused, but the last one if it has a chance: that is better than a
// slot that stays free.
func (a *admission) firstLocked(order [3]lane, now time.Time, done *turns) *ticket {
	for _, l := range order {
		if !a.fitsLocked(l, now) {
			continue
		}
		for e := a.lanes[l].Front(); e != nil; e = a.lanes[l].Front() {
			t := e.Value.(*ticket)
			need := a.pace.most()
			if e.Next() == nil {
				need = a.pace.need()
			}
			if !a.pace.measured() || !t.late(now, need) {
				return t
			}
			a.refuseLocked(t, done)
		}
	}
	return nil
}

// late reports whether a load that begins then and takes so long ends too late.
func (t *ticket) late(begin time.Time, takes time.Duration) bool {
	if takes == 0 { // unknown
		return false
	}
	end := begin.Add(takes)
	return !t.end.IsZero() && !end.Before(t.end) || !t.patient.IsZero() && !end.Before(t.patient)
}

// silenceLocked is how long no load has begun or ended in the slots for which a newcomer
// has to wait: each load in them runs at least that long.
func (a *admission) silenceLocked(l lane, now time.Time) time.Duration {
	switch {
	case a.running >= a.slots:
		return now.Sub(a.event)
	case l == laneStranger && a.strangers >= a.slots-a.reserve.slots: // the free slots are reserved
		return now.Sub(a.stranger)
	}
	return 0
}

// waitLocked estimates how long a newcomer has to wait for its turn. Zero is unknown.
// After a silence longer than a load takes, no slot is expected before it has lasted
// twice as long: that is the median of a time whose scale is unknown.
func (a *admission) waitLocked(l lane, now time.Time) time.Duration {
	silence := a.silenceLocked(l, now)
	took := float64(max(a.pace.took, silence))
	turns := func(ahead, slots int) time.Duration {
		return time.Duration(float64(ahead+1) / float64(max(1, slots)) * took)
	}
	ahead := a.lanes[laneKnown].Len()
	wait := turns(ahead, a.slots)
	if l == laneStranger {
		mine := a.lanes[laneStranger].Len()
		wait = min(
			turns(ahead+mine, a.generalLocked(now)),
			turns((strangersTurn+1)*mine+strangersTurn, a.slots), // they have one turn in eight
		)
	}
	if silence > a.pace.most() {
		wait = max(wait, silence)
	}
	return wait
}
