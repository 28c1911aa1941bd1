package listener

import (
	"syscall"
	"time"
	"unsafe"
)

// Events of poll(2), and its argument (include/uapi/asm-generic/poll.h).
const (
	pollErr   = 0x0008 // reset
	pollHup   = 0x0010 // both directions have ended
	pollRdHup = 0x2000 // the client has finished writing, and perhaps left
)

type pollFd struct {
	fd      int32
	events  int16
	revents int16
}

// peerClosed reports whether the client of a socket has left, also if it has sent
// something before. A TCP client that has only finished writing looks the same, so
// half spares those. It costs half of what TCP_INFO does, and knows Unix sockets.
func peerClosed(fd uintptr, half bool) bool {
	p := pollFd{fd: int32(fd), events: pollRdHup}
	gone := int16(pollErr | pollHup | pollRdHup)
	if half {
		gone = pollErr | pollHup
	}
	var now syscall.Timespec // ppoll, since not every architecture has poll
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return errno == 0 && p.revents&gone != 0
}

// tcpInfo is the beginning of struct tcp_info (include/uapi/linux/tcp.h).
type tcpInfo struct {
	state        uint8
	_            [27]byte
	sacked       uint32 // of a socket that listens: the length of its queue
	_            [12]byte
	lastDataSent uint32 // milliseconds ago
}

const tcpListen = 10 // include/net/tcp_states.h

func infoOf(fd uintptr) (info tcpInfo, ok bool) {
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(sysGetsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info, errno == 0 && uintptr(size) >= unsafe.Sizeof(info)
}

// waited is how long a TCP socket that has sent nothing has been connected: the
// kernel begins to count when it puts it into the queue. Other sockets have no time.
func waited(fd uintptr) time.Duration {
	info, _ := infoOf(fd)
	return time.Duration(info.lastDataSent) * time.Millisecond
}

// backlogOf returns how long the queue of a TCP socket may be, 0 if that is not known.
func backlogOf(fd uintptr) int {
	info, ok := infoOf(fd)
	if !ok || info.state != tcpListen {
		return 0
	}
	return int(info.sacked)
}

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall has no name of.
const tcpUserTimeout = 18

// endsVanished reports whether a TCP socket has a time after which the kernel ends a
// connection that is not acknowledged, keep-alives included. What a listening socket
// has is inherited by the connections that it accepts.
func endsVanished(fd uintptr) bool {
	ms, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
	return err == nil && ms != 0
}

// endVanished sets that time. A socket of MPTCP, which net.Listen makes, cannot have it,
// but its connections can unless their clients speak MPTCP as well.
func endVanished(fd uintptr, d time.Duration) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
}

// clientErrorsHere are the errors of accept(2) that only Linux has.
var clientErrorsHere = []error{syscall.ENONET}

// dup makes to another descriptor of from. Not every architecture has dup2.
func dup(from, to int) error { return syscall.Dup3(from, to, syscall.O_CLOEXEC) }
