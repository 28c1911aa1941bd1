package listener

import (
	"math"
	"net"
	"time"
)

// This file is what stands under the lock: counting, and no I/O.

// lookAgain is how often pending connections that are not wrapped are asked whether
// they are closed, while there is no room.
const lookAgain = 5 * time.Millisecond

// room reports whether one more connection would be let in, with Overflow Wait,
// and if not how long it takes until time alone may have made room; negative is
// never.
func (t *Throttled) room() (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.expireLocked(now)
	switch {
	case t.lim.Overflow != Wait:
		return 0, true
	case t.pendingFullLocked():
		return t.nextExpiryLocked(now), false
	case t.openFullLocked():
		return -1, false
	}
	wait = t.nextTokenLocked(now)
	return wait, wait == 0
}

func (t *Throttled) pendingFullLocked() bool {
	if t.lim.MaxPending <= 0 || t.pending.n < t.lim.MaxPending {
		return false
	}
	if t.pending.raw == 0 {
		return true
	}
	for h := range t.pending.all() {
		if h.raw && endedTCP(h.conn.(*net.TCPConn)) {
			t.unpendLocked(h)
		}
	}
	return t.pending.n >= t.lim.MaxPending
}

func (t *Throttled) openFullLocked() bool {
	return t.lim.MaxConns > 0 && t.open >= t.lim.MaxConns
}

// nextTokenLocked is how long it takes until there is a token, without taking it.
func (t *Throttled) nextTokenLocked(now time.Time) time.Duration {
	if t.rate == nil {
		return 0
	}
	missing := 1 - t.rate.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(min(missing/float64(t.rate.Limit()), 3600) * float64(time.Second)))
}

// nextExpiryLocked is how long it takes until a pending place may be free, negative
// for ever.
func (t *Throttled) nextExpiryLocked(now time.Time) time.Duration {
	timeout := t.lim.pendingTimeout()
	wait := time.Duration(-1)
	if timeout > 0 {
		wait = max(0, t.pending.oldest().since+timeout-now.Sub(t.started))
	}
	if t.pending.raw > 0 && (wait < 0 || wait > lookAgain) {
		wait = lookAgain
	}
	return wait
}

// expireLocked frees the places of those that took too long.
func (t *Throttled) expireLocked(now time.Time) {
	timeout := t.lim.pendingTimeout()
	for timeout > 0 && t.pending.n > 0 {
		h := t.pending.oldest()
		if now.Sub(t.started)-h.since < timeout {
			return
		}
		t.unpendLocked(h)
		t.stats.PendingExpired++
	}
}

// charge counts a connection and returns it, wrapped if its end must be known; or nil
// and the limit that it is beyond.
func (t *Throttled) charge(a arrival, exempt bool) (net.Conn, Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if exempt {
		return t.letInLocked(a.conn, nil, false, now), 0
	}
	var from source
	limited := false
	if t.lim.limitsSource() {
		from, limited = sourceOf(a.addr)
	}
	t.expireLocked(now)
	switch {
	case limited && t.sources[from].full(&t.lim):
		return nil, OverSource
	case t.pendingFullLocked():
		return nil, OverPending
	case t.openFullLocked():
		return nil, OverConns
	case t.rate != nil && !t.rate.AllowN(now, 1): // last: a token is spent
		return nil, OverRate
	}
	var s *sourceCount
	if limited {
		s = t.countLocked(from)
	}
	return t.letInLocked(a.conn, s, t.lim.counts(), now), 0
}

// letInLocked returns c as the caller is to have it.
func (t *Throttled) letInLocked(c net.Conn, s *sourceCount, counted bool, now time.Time) net.Conn {
	t.stats.Accepted++
	_, socket := c.(*net.TCPConn)
	pendingRaw := counted && socket && t.lim.raw()
	if (!counted || pendingRaw) && t.raws.add(c) {
		if pendingRaw {
			t.pendLocked(&held{t: t, conn: c, counted: true, raw: true, since: now.Sub(t.started)})
		}
		return c
	}
	in, h := t.hold(c)
	h.conn, h.counted, h.source, h.since = in, counted, s, now.Sub(t.started)
	t.wrapLocked(h)
	if !counted {
		return in
	}
	t.open++
	if t.lim.MaxPending > 0 || t.lim.PendingPerSource > 0 {
		t.pendLocked(h)
	}
	return in
}

// pendLocked gives h a pending place.
func (t *Throttled) pendLocked(h *held) {
	t.pending.add(h)
	if h.source != nil {
		h.source.pending++
	}
}

// forgetRawLocked is release for a connection that is not wrapped.
func (t *Throttled) forgetRawLocked(c net.Conn) {
	t.raws.forget(c)
	for h := range t.pending.all() {
		if h.raw && h.conn == c {
			t.unpendLocked(h)
			t.wakeLocked()
			return
		}
	}
}

// unpendLocked frees h's pending place, if it has one.
func (t *Throttled) unpendLocked(h *held) {
	if t.pending.remove(h) && h.source != nil {
		h.source.pending--
	}
}

// rejects reports whether connections beyond a limit are rejected. One that has
// Overflow Wait can still be beyond its source's limit.
func (t *Throttled) rejects(why Reason) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return why == OverSource || t.lim.Overflow == Reset
}

// release takes a closed connection out of all counts.
func (t *Throttled) release(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.released {
		return
	}
	h.released = true
	t.unwrapLocked(h)
	if !h.counted {
		return
	}
	t.open--
	t.unpendLocked(h)
	if s := h.source; s != nil {
		if s.n--; s.n == 0 {
			delete(t.sources, s.source)
		}
	}
	t.wakeLocked()
}

// admit frees the pending place of a connection.
func (t *Throttled) admit(h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.admitLocked(h)
}

func (t *Throttled) admitLocked(h *held) {
	if h.pending {
		t.stats.Admitted++
	}
	t.unpendLocked(h)
	t.wakeLocked()
}

// wakeLocked tells the Accept that waits, if any, to look again.
func (t *Throttled) wakeLocked() {
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

type sourceCount struct {
	source  source
	n       int // open
	pending int // of them
}

// full reports whether a source has all that it may have; nil has nothing.
func (s *sourceCount) full(lim *Limits) bool {
	return s != nil && (lim.PerSource > 0 && s.n >= lim.PerSource ||
		lim.PendingPerSource > 0 && s.pending >= lim.PendingPerSource)
}

func (t *Throttled) countLocked(from source) *sourceCount {
	s := t.sources[from]
	if s == nil {
		s = &sourceCount{source: from}
		t.sources[from] = s
	}
	s.n++
	return s
}
