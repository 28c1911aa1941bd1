package ttlcache

import (
	"container/list"
	"sync"
	"time"
)

// admission decides which loads run, wait or are refused, over all credentials.
type admission struct {
	slots   int           // loads at once
	general int           // of them for strangers
	queue   int           // loads that wait
	timeout time.Duration // of a load with its wait; not above zero is none

	mu       sync.Mutex // guards the fields below
	running  int
	visitors int       // running strangers
	known    list.List // tickets that wait, the first in first out
	strange  list.List
	took     time.Duration // a load, on average; zero is unknown
}

// A ticket is a load's place in the admission, which guards it.
type ticket struct {
	known bool // credentials that had a verdict go first
	begin func()
	spoil func(error)   // told that it will never begin
	place *list.Element // nil when not waiting
}

// enter lets t begin, or wait, or neither: then it returns an error. It may have to
// spoil another ticket for it, which it returns, so that the caller can tell it
// when it holds no lock. A ticket that waits is not worth it after patience.
func (a *admission) enter(t *ticket, patience time.Duration) (begins bool, spoilt *ticket, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fitsLocked(t.known) {
		a.takeLocked(t)
		return true, nil, nil
	}
	wait := a.waitLocked(t.known)
	if wait > patience || a.timeout > 0 && wait+a.took >= a.timeout {
		return false, nil, &overload{wait, "no load can begin in time"}
	}
	if a.known.Len()+a.strange.Len() >= a.queue {
		if spoilt = a.displaceLocked(t.known); spoilt == nil {
			return false, nil, &overload{wait, "too many loads are waiting"}
		}
	}
	t.place = a.laneLocked(t.known).PushBack(t)
	return false, spoilt, nil
}

// leave ends a load, and returns the ticket whose turn it is, if any.
func (a *admission) leave(t *ticket, took time.Duration) *ticket {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	if !t.known {
		a.visitors--
	}
	a.learnLocked(took)
	return a.nextLocked()
}

// drop takes back a ticket that waits, and reports whether it did.
func (a *admission) drop(t *ticket) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.place == nil {
		return false
	}
	a.unqueueLocked(t)
	return true
}

// overloaded is the error for a ticket that was spoilt.
func (a *admission) overloaded() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &overload{a.waitLocked(false), "a known credential took its place"}
}

func (a *admission) counts() (running, waiting int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running, a.known.Len() + a.strange.Len()
}

func (a *admission) fitsLocked(known bool) bool {
	return a.running < a.slots && (known || a.visitors < a.general)
}

func (a *admission) takeLocked(t *ticket) {
	a.running++
	if !t.known {
		a.visitors++
	}
}

func (a *admission) laneLocked(known bool) *list.List {
	if known {
		return &a.known
	}
	return &a.strange
}

func (a *admission) unqueueLocked(t *ticket) {
	a.laneLocked(t.known).Remove(t.place)
	t.place = nil
}

// displaceLocked makes room for a known credential: it is not turned away while
// strangers wait. The last of them has waited least.
func (a *admission) displaceLocked(known bool) *ticket {
	last := a.strange.Back()
	if !known || last == nil {
		return nil
	}
	t := last.Value.(*ticket)
	a.unqueueLocked(t)
	return t
}

// nextLocked lets in the first known credential, or else the first stranger. One
// turn has become free, so no more than one can follow.
func (a *admission) nextLocked() *ticket {
	for _, known := range []bool{true, false} {
		first := a.laneLocked(known).Front()
		if first == nil || !a.fitsLocked(known) {
			continue
		}
		t := first.Value.(*ticket)
		a.unqueueLocked(t)
		a.takeLocked(t)
		return t
	}
	return nil
}

// waitLocked estimates how long a newcomer has to wait for its turn. Each turn ends
// after the average load, so turns become free at slots/took. Zero is unknown.
func (a *admission) waitLocked(known bool) time.Duration {
	ahead, slots := a.known.Len(), a.slots
	if !known {
		ahead, slots = ahead+a.strange.Len(), a.general
	}
	return time.Duration(float64(ahead+1) / float64(slots) * float64(a.took))
}

// learnLocked takes one more load into the average, which follows a change within
// some ten loads.
func (a *admission) learnLocked(took time.Duration) {
	const weight = 8
	if a.timeout > 0 {
		took = min(took, a.timeout) // one that ignored its end says little about the others
	}
	if a.took == 0 {
		a.took = took
		return
	}
	a.took += (took - a.took) / weight
}
