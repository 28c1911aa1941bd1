package listener

import (
	"errors"
	"net"
	"time"
)

// This file is the way of a connection through a Throttled: from the listener
// underneath to the caller of Accept.

// Accept waits until the limits allow another connection and for a client that is
// still there.
func (t *Throttled) Accept() (net.Conn, error) {
	a, err := t.offer()
	return a.conn, err
}

func (t *Throttled) offer() (arrival, error) {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	t.setHand(mayHold)
	defer t.setHand(empty)
	for t.ready() {
		a, err := t.next()
		switch {
		case errors.Is(err, errDrained):
			t.setHand(empty)
			t.awaitOpening(t.l.(*Gate))
			t.setHand(mayHold)
		case err != nil:
			return arrival{}, t.failure(err)
		case t.enter(&a):
			return a, nil
		}
	}
	return arrival{}, closedError("accept", t.Addr())
}

func (t *Throttled) awaitOpening(g *Gate) {
	select {
	case <-g.opening():
	case <-t.closed:
	}
}

// A hand is whether the Accept that has the turn may hold a connection that is not
// counted yet: Drain waits for it.
type hand bool

const (
	empty   hand = false
	mayHold hand = true
)

func (t *Throttled) setHand(h hand) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hand = h
	t.drainChangedLocked()
}

// takeBack undoes enter, for a connection that was not handed to the caller before
// the gate underneath was shut.
func (t *Throttled) takeBack(c net.Conn) (<-chan struct{}, bool) {
	in := c
	h, wrapped := c.(holder)
	if wrapped {
		in = inside(c)
	}
	shut, taken := t.l.(offerer).takeBack(in)
	if !taken {
		return shut, false
	}
	if wrapped {
		t.release(h.hold())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !wrapped {
		t.forgetRawLocked(c)
	}
	t.stats.Accepted--
	return nil, true
}

// failure is err, or the error of a closed listener. What Drain has closed is not
// closed for the server yet, which would end with it.
func (t *Throttled) failure(err error) error {
	t.mu.Lock()
	drained := t.drained
	t.mu.Unlock()
	if drained {
		t.setHand(empty)
		<-t.closed
	}
	if stopped(t.closed) {
		return closedError("accept", t.Addr())
	}
	return err
}

// ready waits, with Overflow Wait, for room for one more connection, so that it is in
// the kernel's queue that clients wait. With Exempt it leaves that to enter, with one
// client in hand: an exempt client that is alone in the queue must not wait for room.
// It reports false after Close.
func (t *Throttled) ready() bool {
	for drain := t.leaves(); t.inForce.Load().Exempt == nil; {
		if !t.await(nil, drain) {
			break
		}
	}
	return !stopped(t.closed)
}

// await waits for room, and reports false if there is some, after Close, or if shut or
// drain is closed. It reports true if it is to be called again, since limits may have
// changed.
func (t *Throttled) await(shut, drain <-chan struct{}) bool {
	if stopped(t.closed) || stopped(shut) || stopped(drain) {
		return false
	}
	wait, room := t.room()
	if room {
		return false
	}
	t.pause(wait, shut, drain)
	return true
}

// pause waits for d, for ever if negative, or for what may have changed sooner.
func (t *Throttled) pause(d time.Duration, shut, drain <-chan struct{}) {
	var due <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-t.freed:
	case <-shut:
	case <-drain:
	case <-t.closed:
	}
}

// enter counts a and wraps it if it may enter. It reports false if that was its end.
func (t *Throttled) enter(a *arrival) bool {
	exempt := t.exempt(a)
	t.sizeAgain(t.inForce.Load())
	for !stopped(t.closed) {
		lim := t.inForce.Load()
		switch {
		case a.withdrawn(t.l):
			return false
		case t.abandoned(a.conn, lim):
			reset(a.conn)
			return false
		case !exempt && t.late(a.conn, lim):
			t.reject(a.conn, OverPatience)
			return false
		}
		in, why := t.charge(*a, exempt)
		switch {
		case in != nil:
			a.conn = in
			return true
		case t.rejects(why):
			t.reject(a.conn, why)
			return false
		}
		t.await(a.shut, nil) // with Exempt, or the limits have become lower
	}
	reset(a.conn)
	return false
}

func (t *Throttled) exempt(a *arrival) bool {
	exempt := t.inForce.Load().Exempt
	return exempt != nil && a.addr != nil && exempt(a.addr)
}

// abandoned reports whether c's client has left, and counts it.
func (t *Throttled) abandoned(c net.Conn, lim *Limits) bool {
	if !lim.counts() && !lim.limitsRate() {
		return false
	}
	t.peer.places = lim.counts()
	if !t.peer.closed(c, lim.HalfClose) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Corpses++
	return true
}

// late reports whether c's client has waited for so long that it would leave while
// it logs in. The head of a queue that is too long is always such a client.
func (t *Throttled) late(c net.Conn, lim *Limits) bool {
	longest := lim.longestWait()
	return longest > 0 && t.peer.waited(c) > longest
}
