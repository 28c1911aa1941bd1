package listener

import (
	"context"
	"math/rand/v2"
	"net"
)

// Leaving returns a channel that is closed when the connection that [ConnContext] has
// put into ctx is to end, by Drain, by Rebalance or at Limits.MaxAge, or has been closed.
// It is nil, which is never closed, for a socket under no limit that counts connections
// (see [Throttle]): with handlers of streams set one, such as a MaxConns beyond reach, or
// Drain waits for them until its ctx ends.
//
// The handler of a stream or of a hijacked connection then says its last word and
// returns; a goroutine that waits for it ends with the connection. The channel is also
// nil without such a connection. Leaving(ConnContext(ctx, c)) is the channel of c. Of two
// Throttled, one over the other, it is that of the outer, which is the one to drain.
func Leaving(ctx context.Context) <-chan struct{} {
	c, ok := ctx.Value(contextKey{}).(net.Conn)
	if !ok {
		return nil
	}
	h := find[holder](c)
	if h == nil {
		return nil
	}
	return h.hold().leavingNotice()
}

func (h *held) leavingNotice() <-chan struct{} {
	t := h.t
	t.mu.Lock()
	defer t.mu.Unlock()
	notice := t.notices[h]
	if notice == nil {
		notice = make(chan struct{})
		if h.leaving || h.released {
			close(notice)
			return notice
		}
		t.notices[h] = notice
	}
	return notice
}

// tellLocked tells a connection that it is to end.
func (t *Throttled) tellLocked(h *held) {
	if !h.ended {
		h.ended = true
		t.untold--
	}
	if h.leaving {
		return
	}
	h.leaving = true
	t.stats.Drained++
	t.notifyLocked(h)
}

// untellLocked lets a Drain end what MaxAge or Rebalance has told before.
func (t *Throttled) untellLocked() {
	for h := range t.wrapped.all() {
		h.ended = false
	}
	t.untold = t.wrapped.n
	t.raws.untell()
}

func (t *Throttled) notifyLocked(h *held) {
	if notice := t.notices[h]; notice != nil {
		close(notice)
		delete(t.notices, h)
	}
}

// tell tells c, if it is wrapped.
func (t *Throttled) tell(c net.Conn) {
	if h, ok := c.(holder); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.tellLocked(h.hold())
	}
}

// tellOne tells a connection that has not been told yet to end and returns it, nil if
// there is none.
func (t *Throttled) tellOne() net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.untold > 0 {
		first := rand.IntN(t.wrapped.n)
		for i := range t.wrapped.n {
			if h := t.wrapped.at((first + i) % t.wrapped.n); !h.ended {
				t.tellLocked(h)
				return h.conn
			}
		}
	}
	c, first := t.raws.tell()
	if first {
		t.stats.Drained++
	}
	return c
}

// anyUntold reports whether tellOne may have a connection.
func (t *Throttled) anyUntold() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.untold+t.raws.untold() > 0
}

// openNow returns how many connections are open, counted or not.
func (t *Throttled) openNow() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wrapped.n + t.raws.sweep()
}

// staying returns how many connections are open and not told to end.
func (t *Throttled) staying() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.raws.sweep()
	return t.untold + t.raws.untold()
}

// nothingLeft reports whether no connection is open or on its way in.
func (t *Throttled) nothingLeft() bool {
	t.mu.Lock()
	hand := t.hand
	t.mu.Unlock()
	return hand == empty && !t.asked.any() && !t.anyOpen()
}

func (t *Throttled) anyOpen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wrapped.n > 0 || t.raws.anyOpen()
}

// leaves returns a channel that is closed while a Drain is under way.
func (t *Throttled) leaves() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left
}

func (t *Throttled) hasRaw() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.raws.any()
}

// openConns returns all that are open.
func (t *Throttled) openConns() []net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.raws.open()
	for h := range t.wrapped.all() {
		all = append(all, h.conn)
	}
	return all
}

// wrapLocked remembers an open connection.
func (t *Throttled) wrapLocked(h *held) {
	t.wrapped.add(h)
	t.untold++
	h.age = uint8(rand.Uint32())
	t.ageLocked()
	t.drainChangedLocked()
}

// unwrapLocked forgets one that is closed.
func (t *Throttled) unwrapLocked(h *held) {
	t.wrapped.remove(h)
	t.notifyLocked(h)
	if !h.ended {
		t.untold--
	}
	t.drainChangedLocked()
}

func (t *Throttled) drainChangedLocked() {
	if t.draining == nil {
		return
	}
	select {
	case t.draining.changed <- struct{}{}:
	default:
	}
}
