package listener

import (
	"net"
	"syscall"
	"time"
)

// A probe asks a connection what its client does. It belongs to one goroutine at a
// time and is reused, since what RawConn calls would otherwise be allocated for
// each connection.
type probe struct {
	askLeft   func(fd uintptr)
	askWaited func(fd uintptr)

	half bool // question, and answers
	gone bool
	time time.Duration
}

func (p *probe) init() {
	p.askLeft = func(fd uintptr) { p.gone = left(fd, p.half) }
	p.askWaited = func(fd uintptr) { p.time = waited(fd) }
}

// left reports whether c's client has left.
func (p *probe) left(c net.Conn, half bool) bool {
	if pc := find[interface{ PeerClosed() bool }](c); pc != nil {
		return !half && pc.PeerClosed()
	}
	p.half, p.gone = half, false
	p.ask(c, p.askLeft)
	return p.gone
}

// waited returns how long c has been in the queue, 0 if that is not known.
func (p *probe) waited(c net.Conn) time.Duration {
	if w := find[interface{ Waited() time.Duration }](c); w != nil {
		return w.Waited()
	}
	p.time = 0
	p.ask(c, p.askWaited)
	return p.time
}

// ask asks the socket of c, if it has one.
func (p *probe) ask(c net.Conn, question func(fd uintptr)) {
	sc := find[syscall.Conn](c)
	if sc == nil {
		return
	}
	if rc, err := sc.SyscallConn(); err == nil {
		_ = rc.Control(question) // an error if c is closed, which leaves the answer
	}
}
