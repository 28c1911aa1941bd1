package backoff

import (
	"context"
	"time"
)

// ownDelay asks Schedule, and returns after how many failures. Below zero there is no
// answer.
func (b *Backoff) ownDelay() (d time.Duration, failures int) {
	if b.Schedule == nil {
		return -1, 0
	}
	b.mu.Lock()
	stopped := b.stop != nil
	if b.trying && !stopped {
		b.failLocked(nil, 0)
	}
	failures = b.streak.failures
	b.mu.Unlock()
	if failures == 0 || stopped {
		return -1, 0
	}
	return min(b.Schedule(failures), b.Policy.most()), failures
}

// plan decides what is due, where own is what Schedule says after so many failures. It
// returns what may end the wait early.
func (b *Backoff) plan(ctx context.Context, own time.Duration, failures int) (e Event, wake <-chan struct{}, ok bool) {
	u := b.draw()
	l := limitOf(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurried = false
	if b.stop != nil {
		return Event{}, nil, false
	}
	if b.trying {
		b.failLocked(nil, 0)
	}
	s := &b.streak
	if own < 0 || failures != s.failures {
		own = s.scheduled(&b.Policy, u)
	}
	d, asked := b.dueLocked(u, own)
	b.stopLocked(s.ending(l, &b.Policy, d))
	if !asked {
		wake = b.Wake
	}
	return Event{b.attempts + 1, s.failures, s.last, d, s.hint > 0}, wake, b.stop == nil
}

// dueLocked is the order of what is due: hint, window, splay, schedule. It reports
// whether the server asked for it.
func (b *Backoff) dueLocked(u float64, scheduled time.Duration) (d time.Duration, asked bool) {
	first := b.streak.failures == 0
	switch {
	case first && (b.attempts > 0 || !b.SplayFirst || b.Splay <= 0):
		return 0, false
	case b.streak.hint > 0:
		d, asked = b.streak.hinted(&b.Policy, u), true
	case b.window > 0:
		d, asked = b.slotLocked(u), true
	case b.Splay > 0 && (first || b.stable):
		d = portion(b.Splay, u)
	default:
		d = scheduled
	}
	if d == 0 && b.atOnce {
		d = b.streak.scheduled(&b.Policy, u) // two sessions in a row that ended as they began
	}
	b.atOnce = d == 0 && !first
	return d, asked
}

// slotLocked is the time to the next slot of the window. The first is drawn; those
// missed while an attempt ran are skipped, or the phase would be lost.
func (b *Backoff) slotLocked(u float64) time.Duration {
	w, now := min(b.window, b.Policy.mostHint()), time.Now()
	var least time.Duration
	if w < b.Policy.ceiling(1) && !b.stable {
		least = b.streak.scheduled(&b.Policy, u) // or the window would be a hot loop
	}
	d := w - now.Sub(b.slot)%w
	if b.slot.IsZero() {
		from := b.streak.lost
		if from.IsZero() {
			from = now // the very first attempt
		}
		slot := from.Add(portion(w, u))
		if d = slot.Sub(now); d < 0 {
			d = w - (-d)%w
		}
	}
	if d < least {
		d += (least - d) / w * w
		d += min(w, forever-d)
	}
	b.slot = now.Add(d)
	return d
}

// wait is the wait of e, which a value from wake may end. After one that was ended
// early, the first delay of the policy passes before another may be.
func (b *Backoff) wait(ctx context.Context, e Event, wake <-chan struct{}) {
	d := e.Delay
	if b.woken && wake != nil && e.Failures > 1 {
		held := min(d, b.Policy.ceiling(1))
		b.sleep(ctx, held, nil)
		d -= held
	}
	b.woken = b.sleep(ctx, d, wake)
}

// sleep is a sleep that hurry ends.
func (b *Backoff) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	if d <= 0 {
		return false
	}
	b.mu.Lock()
	if b.hurried {
		b.mu.Unlock()
		return false
	}
	b.sleeper.set(d)
	b.mu.Unlock()
	return b.sleeper.await(ctx, wake)
}

// hurryLocked ends the sleep that is under way, and those to come until the next plan. If
// none is, the timer fires for nothing, which its next set undoes.
func (b *Backoff) hurryLocked() {
	b.hurried = true
	if b.sleeper.timer != nil {
		b.sleeper.set(0)
	}
}

// dropWakes drops what is stale. A closed channel, and one that is filled as quickly as
// it is emptied, must not keep it.
func (b *Backoff) dropWakes() {
	for range cap(b.Wake) + 1 {
		select {
		case <-b.Wake:
		default:
			return
		}
	}
}
