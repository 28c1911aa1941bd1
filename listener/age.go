package listener

import (
	"net"
	"time"
)

// This file is Limits.MaxAge: the timer that ends old connections.

// ageSteps is into how many steps MaxAge is divided: how exactly it is kept, and how
// seldom all connections are looked at.
const ageSteps = 128

// ageLocked starts or stops the timer that ends old connections, as is needed.
func (t *Throttled) ageLocked() {
	wanted := t.lim.MaxAge > 0 && t.wrapped.n > 0 && !t.done
	if wanted != t.aged {
		t.ageAgainLocked(t.ageStepLocked())
	}
}

func (t *Throttled) ageStepLocked() time.Duration {
	return max(t.lim.MaxAge/ageSteps, time.Millisecond)
}

// ageAgainLocked sets the timer to d, if it is needed: for a MaxAge that is another, or
// a timer that has fired.
func (t *Throttled) ageAgainLocked(d time.Duration) {
	t.aged = t.lim.MaxAge > 0 && t.wrapped.n > 0 && !t.done
	switch {
	case t.aged && t.aging == nil:
		t.aging = time.AfterFunc(d, t.age)
	case t.aged:
		t.aging.Reset(d)
	case t.aging != nil:
		t.aging.Stop()
	}
}

// age ends the connections that have become too old.
func (t *Throttled) age() {
	t.mu.Lock()
	t.ageAgainLocked(t.ageStepLocked())
	lim, now := t.lim, time.Since(t.started)
	var old []net.Conn
	if lim.MaxAge > 0 && !t.done && !t.drainsLocked() {
		for h := range t.wrapped.all() {
			half := lim.MaxAge / 2
			if !h.leaving && h.counted && now-h.since >= half+half/256*time.Duration(h.age) {
				t.tellLocked(h)
				old = append(old, h.conn)
			}
		}
	}
	t.mu.Unlock()
	for _, c := range old {
		if lim.End != nil {
			go lim.End(c)
		}
		if grace := lim.ageGrace(); grace > 0 {
			time.AfterFunc(grace, func() { _ = c.Close() })
		}
	}
}
