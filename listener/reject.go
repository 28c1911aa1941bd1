package listener

import (
	"io"
	"net"
	"time"
)

const (
	maxGoodbyes     = 64               // at once; a flood must not become goroutines
	goodbyeDeadline = 10 * time.Second // for all of it
	lingerDeadline  = time.Second      // of that, after the hook, for the client to read
)

// A parting is a connection that is being told goodbye.
type parting struct {
	net.Conn
	why  Reason
	hook func(net.Conn, Reason)
}

// reject turns c away: through the hook, off the way of Accept, or by a reset.
func (t *Throttled) reject(c net.Conn, why Reason) {
	if p := t.part(c, why); p != nil {
		go t.goodbye(p)
		return
	}
	reset(c)
}

// part counts c, and prepares its goodbye if there is a hook and room for it.
func (t *Throttled) part(c net.Conn, why Reason) *parting {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rejected[why]++
	if t.lim.Reject == nil || t.done || len(t.parting) >= maxGoodbyes {
		return nil
	}
	p := &parting{c, why, t.lim.Reject}
	t.parting[p] = struct{}{}
	return p
}

// goodbye lets the hook speak and closes p in order: unread bytes would turn a
// plain Close into a reset, which can overtake what the hook has written.
func (t *Throttled) goodbye(p *parting) {
	end := time.AfterFunc(goodbyeDeadline, func() { _ = p.Close() }) // even if the hook hangs
	defer t.parted(p, end)
	_ = p.SetDeadline(time.Now().Add(goodbyeDeadline - lingerDeadline))
	p.hook(p.Conn, p.why)
	if w, ok := p.Conn.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		_ = p.SetReadDeadline(time.Now().Add(lingerDeadline))
		_, _ = io.Copy(io.Discard, p)
	}
}

func (t *Throttled) parted(p *parting, end *time.Timer) {
	end.Stop()
	_ = p.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.parting, p)
}
