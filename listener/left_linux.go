package listener

import "syscall"

// States of a TCP connection whose client may still be there (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpCloseWait   = 8 // the client has finished writing, and perhaps left
)

// left reports whether the client of a socket has left: by the state of the TCP
// connection, the first byte of TCP_INFO. A client that has only finished writing
// looks the same, so half spares those.
func left(fd uintptr, tcp, half bool) bool {
	if !tcp {
		return !half && ended(int(fd))
	}
	info, err := syscall.GetsockoptInet4Addr(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	if err != nil {
		return false
	}
	state := info[0]
	return state != tcpEstablished && (!half || state != tcpCloseWait)
}
