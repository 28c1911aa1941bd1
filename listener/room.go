package listener

import (
	"net"
	"net/netip"
	"time"
)

// This file is what stands under the lock: counting, and no I/O.

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
	case t.crowdedLocked():
		return t.nextExpiryLocked(now), false
	case t.openFullLocked():
		return -1, false
	}
	wait = t.nextTokenLocked(now)
	return wait, wait == 0
}

func (t *Throttled) crowdedLocked() bool {
	return t.lim.MaxPending > 0 && t.pending.n >= t.lim.MaxPending
}

func (t *Throttled) openFullLocked() bool {
	return t.lim.MaxConns > 0 && t.open >= t.lim.MaxConns
}

// nextTokenLocked is how long it takes until there is a token, without taking it.
func (t *Throttled) nextTokenLocked(now time.Time) time.Duration {
	if t.rate == nil {
		return 0
	}
	r := t.rate.ReserveN(now, 1)
	defer r.CancelAt(now)
	return r.DelayFrom(now)
}

// nextExpiryLocked is how long the oldest pending connection keeps its place,
// negative for ever.
func (t *Throttled) nextExpiryLocked(now time.Time) time.Duration {
	timeout := t.lim.pendingTimeout()
	if timeout == 0 {
		return -1
	}
	return max(0, t.pending.oldest().since+timeout-now.Sub(t.epoch))
}

// expireLocked frees the places of those that took too long.
func (t *Throttled) expireLocked(now time.Time) {
	timeout := t.lim.pendingTimeout()
	for timeout > 0 && t.pending.n > 0 {
		h := t.pending.oldest()
		if now.Sub(t.epoch)-h.since < timeout {
			return
		}
		t.pending.remove(h)
		t.stats.PendingExpired++
	}
}

// charge counts c and returns it, wrapped if its end must be known; or nil and
// the limit that it is beyond.
func (t *Throttled) charge(c net.Conn, exempt bool) (net.Conn, Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if exempt {
		t.stats.Accepted++
		return c, 0
	}
	now := time.Now()
	var from source
	limited := false
	if t.lim.PerSource > 0 {
		from, limited = sourceOf(c)
	}
	t.expireLocked(now)
	switch {
	case limited && t.sources[from].full(t.lim.PerSource):
		return nil, OverSource
	case t.crowdedLocked():
		return nil, OverPending
	case t.openFullLocked():
		return nil, OverConns
	case t.rate != nil && !t.rate.AllowN(now, 1): // last: a token is spent
		return nil, OverRate
	}
	t.stats.Accepted++
	if !t.lim.counts() {
		return c, 0
	}
	in, h := t.hold(c)
	t.open++
	if limited {
		h.source = t.countLocked(from)
	}
	if t.lim.MaxPending > 0 {
		h.since = now.Sub(t.epoch)
		t.pending.add(h)
	}
	return in, 0
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
	t.open--
	t.pending.remove(h)
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
	t.pending.remove(h)
	t.wakeLocked()
}

// wakeLocked tells the Accept that waits, if any, to look again.
func (t *Throttled) wakeLocked() {
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

// A source is what PerSource counts: an address, or an IPv6 site.
type source = netip.Prefix

type sourceCount struct {
	source source
	n      int
}

func (s *sourceCount) full(limit int) bool { return s != nil && s.n >= limit }

func (t *Throttled) countLocked(from source) *sourceCount {
	s := t.sources[from]
	if s == nil {
		s = &sourceCount{source: from}
		t.sources[from] = s
	}
	s.n++
	return s
}

// sourceOf reports where c is from, unless that is no IP address.
func sourceOf(c net.Conn) (source, bool) {
	ip := ipOf(c.RemoteAddr()).Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 56
	}
	p, err := ip.Prefix(bits)
	return p, err == nil && ip.IsValid()
}

// ipOf returns the zero Addr if there is no IP. Listeners that are not of package
// net, such as those behind a proxy, have addresses of their own types.
func ipOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	if a == nil {
		return netip.Addr{}
	}
	p, _ := netip.ParseAddrPort(a.String())
	return p.Addr()
}
