package listenertest

import (
	"sync"
	"time"
)

// A deadline wakes the waiters of a condition when it expires.
type deadline struct {
	mu    *sync.Mutex // the condition's
	cond  *sync.Cond
	timer *time.Timer

	expired bool // guarded by mu
}

func (d *deadline) init(mu *sync.Mutex, cond *sync.Cond) { d.mu, d.cond = mu, cond }

// setLocked replaces the deadline; the zero time is none.
func (d *deadline) setLocked(t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	left := time.Until(t)
	d.expired = !t.IsZero() && left <= 0
	if d.expired {
		d.cond.Broadcast()
	}
	if t.IsZero() || d.expired {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() { d.expire(&timer) })
	d.timer = timer
}

// expire ends the wait unless its timer has been replaced, which Stop may be
// too late to prevent.
func (d *deadline) expire(timer **time.Timer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != *timer {
		return
	}
	d.expired = true
	d.cond.Broadcast()
}
