package listener

import (
	"io"
	"net"
	"time"
)

const (
	maxRejections  = 64               // at once; a flood must not become goroutines
	rejectDeadline = 10 * time.Second // for all of it
	lingerDeadline = time.Second      // of that, after the hook, for the client to read
)

// A rejection is a connection whose client is being told so.
type rejection struct {
	net.Conn
	why  Reason
	hook func(net.Conn, Reason)
}

// reject turns c away: through the hook, off the way of Accept, or by a reset.
func (t *Throttled) reject(c net.Conn, why Reason) {
	if r := t.startReject(c, why); r != nil {
		go t.callReject(r)
		return
	}
	reset(c)
}

// startReject counts c, and prepares the call of the hook if there is one and room for it.
func (t *Throttled) startReject(c net.Conn, why Reason) *rejection {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rejected[why]++
	if t.lim.Reject == nil || t.done || len(t.rejecting) >= maxRejections {
		return nil
	}
	r := &rejection{c, why, t.lim.Reject}
	t.rejecting[r] = struct{}{}
	return r
}

// callReject calls the hook and closes r in order: unread bytes would turn a
// plain Close into a reset, which can overtake what the hook has written.
func (t *Throttled) callReject(r *rejection) {
	end := time.AfterFunc(rejectDeadline, func() { _ = r.Close() }) // even if the hook hangs
	defer t.endReject(r, end)
	_ = r.SetDeadline(time.Now().Add(rejectDeadline - lingerDeadline))
	r.hook(r.Conn, r.why)
	if w, ok := r.Conn.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		_ = r.SetReadDeadline(time.Now().Add(lingerDeadline))
		_, _ = io.Copy(io.Discard, r)
	}
}

func (t *Throttled) endReject(r *rejection, end *time.Timer) {
	end.Stop()
	_ = r.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rejecting, r)
}

// reset closes c without a word: the client gets ECONNRESET, and no TIME_WAIT stays
// behind. What has no linger time is closed in order.
func reset(c net.Conn) {
	if l := find[interface{ SetLinger(sec int) error }](c); l != nil {
		_ = l.SetLinger(0) // fails if the client has gone, which ends it as well
	}
	_ = c.Close()
}
