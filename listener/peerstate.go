package listener

import (
	"net"
	"syscall"
	"time"
)

// A peerState asks a connection what its client does. It belongs to one goroutine at
// a time and is reused, since what RawConn calls would otherwise be allocated for
// each connection.
type peerState struct {
	askClosed func(fd uintptr)
	askWaited func(fd uintptr)

	asked bool // whether connections end when their clients vanish
	ends  bool

	places bool // a client that vanishes would keep places

	half bool // question, and answers
	gone bool
	time time.Duration
}

func (p *peerState) init() {
	p.askClosed = func(fd uintptr) {
		if !p.asked { // one connection stands for all of a listener
			p.asked, p.ends = true, endsVanished(fd)
		}
		if p.places && !p.ends {
			endVanished(fd, vanishedAfter)
		}
		p.gone = peerClosed(fd, p.half)
	}
	p.askWaited = func(fd uintptr) { p.time = waited(fd) }
}

// closed reports whether c's client has left. If not, c will end when it vanishes.
func (p *peerState) closed(c net.Conn, half bool) bool {
	if t, ok := c.(*net.TCPConn); ok {
		return p.closedTCP(t, half)
	}
	if pc := find[interface{ PeerClosed() bool }](c); pc != nil {
		return !half && pc.PeerClosed()
	}
	p.half, p.gone = half, false
	p.ask(c, p.askClosed)
	return p.gone
}

// closedTCP is closed without an allocation: a RawConn that is not made through an
// interface stays on the stack.
func (p *peerState) closedTCP(c *net.TCPConn, half bool) bool {
	p.half, p.gone = half, false
	if rc, err := c.SyscallConn(); err == nil {
		_ = rc.Control(p.askClosed)
	}
	return p.gone
}

// waited returns how long c has been in the queue, 0 if that is not known.
func (p *peerState) waited(c net.Conn) time.Duration {
	if w := find[interface{ Waited() time.Duration }](c); w != nil {
		return w.Waited()
	}
	p.time = 0
	p.ask(c, p.askWaited)
	return p.time
}

// ask asks the socket of c, if it has one.
func (p *peerState) ask(c net.Conn, question func(fd uintptr)) {
	sc := find[syscall.Conn](c)
	if sc == nil {
		return
	}
	if rc, err := sc.SyscallConn(); err == nil {
		_ = rc.Control(question) // an error if c is closed, which leaves the answer
	}
}
