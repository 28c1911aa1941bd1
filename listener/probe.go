package listener

import (
	"net"
	"syscall"
)

// A probe asks a connection whether its client has left. It belongs to one
// goroutine at a time and is reused, since what RawConn calls would otherwise be
// allocated for each connection.
type probe struct {
	ask    func(fd uintptr)
	half   bool
	answer bool
}

func (p *probe) init() {
	p.ask = func(fd uintptr) { p.answer = left(fd, p.half) }
}

func (p *probe) left(c net.Conn, half bool) bool {
	if pc := find[interface{ PeerClosed() bool }](c); pc != nil {
		return !half && pc.PeerClosed()
	}
	sc := find[syscall.Conn](c)
	if sc == nil {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	p.half, p.answer = half, false
	return rc.Control(p.ask) == nil && p.answer
}
