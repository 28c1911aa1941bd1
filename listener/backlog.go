package listener

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// This file is the length of the kernel's queue: which one the limits ask for, where
// it is set, and what it is set back to.

const minBacklog = 16

// sizeEvery is how often a queue that another process may have changed is set again,
// while connections are accepted.
const sizeEvery = 100 * time.Millisecond

// backlog is the length of the queue that the limits ask for, 0 for the system's.
func (l *Limits) backlog() int {
	patience := l.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	if !l.limitsRate() || l.Overflow != Wait || patience < 0 {
		return 0
	}
	return int(min(max(l.Rate*patience.Seconds()/2, minBacklog), systemBacklog))
}

// A backlog is the queue of one listener. Another process may have the same socket:
// its predecessor, its successor, or systemd. So the queue is as long as ours says
// while we accept, and as long as it was once we have closed.
//
// A backlog belongs to one goroutine at a time.
type backlog struct {
	ours   int // 0 is the length that we found
	seen   int // what the system made of ours, 0 is not known
	before int // 0 is not known
}

// set makes l's queue n long; 0 is what it was before. A queue that was never limited
// is left alone: that of an inherited socket may have been chosen.
func (b *backlog) set(l net.Listener, n int) {
	if n == 0 {
		b.restore(l)
		return
	}
	if b.ours == 0 {
		b.before = queueOf(l)
		if b.before == n { // the length of a predecessor with the same limits
			b.before = 0
		}
	}
	b.ours = n
	_ = resize(l, n) // as far as it can be had, see Limits.Patience
	b.seen = queueOf(l)
}

// restore gives l the queue that it had, unless another process has chosen since.
func (b *backlog) restore(l net.Listener) {
	if b.ours == 0 {
		return
	}
	before := b.before
	if before == 0 {
		before = systemBacklog
	}
	if queueOf(l) == b.seen {
		_ = resize(l, before)
	}
	b.ours = 0
}

// resize makes l's queue n connections long, as far as l and the system allow:
// through l's own SetBacklog, or listen(2).
func resize(l net.Listener, n int) error {
	l = unwoken(l)
	if s, ok := l.(interface{ SetBacklog(n int) error }); ok {
		return s.SetBacklog(n)
	}
	err := errors.ErrUnsupported
	ask(l, func(fd uintptr) { err = listenAgain(fd, n) })
	return err
}

// A resizer limits the queue of a listener again and again without an allocation.
type resizer struct {
	n     int
	again func(fd uintptr)
	rc    syscall.RawConn // nil if the listener has none, or a SetBacklog
}

func (r *resizer) init(l net.Listener) {
	r.again = func(fd uintptr) { _ = listenAgain(fd, r.n) }
	if tcp, ok := l.(*net.TCPListener); ok {
		if rc, err := tcp.SyscallConn(); err == nil {
			r.rc = rc
		}
	}
}

func (r *resizer) resize(l net.Listener, n int) {
	if r.rc == nil {
		_ = resize(l, n)
		return
	}
	r.n = n
	_ = r.rc.Control(r.again)
}

// queueOf returns how long l's queue may be, 0 if that is not known.
func queueOf(l net.Listener) (n int) {
	ask(l, func(fd uintptr) { n = backlogOf(fd) })
	return n
}

func ask(l net.Listener, question func(fd uintptr)) {
	sc, ok := unwoken(l).(syscall.Conn)
	if !ok {
		return
	}
	if rc, err := sc.SyscallConn(); err == nil {
		_ = rc.Control(question)
	}
}

// setBacklog limits the queue while the gate is open, from now on; 0 is the
// system's limit.
func (g *Gate) setBacklog(n int) {
	g.moving.Lock()
	defer g.moving.Unlock()
	g.mu.Lock()
	g.backlog = n
	l := g.l
	g.mu.Unlock()
	if l != nil {
		g.queue.set(l, n)
	}
}

// sizeAgain limits the queue of a socket that another process may have as well, and
// may have changed: a predecessor sets it back when it closes.
func (g *Gate) sizeAgain(l net.Listener) {
	g.mu.Lock()
	n := g.backlog
	due := g.park && n != 0 && time.Since(g.sized) >= sizeEvery
	if due {
		g.sized = time.Now()
	}
	g.mu.Unlock()
	if due {
		_ = resize(l, n)
	}
}
