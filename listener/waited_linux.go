package listener

import (
	"syscall"
	"time"
	"unsafe"
)

// tcpInfo is the beginning of struct tcp_info (include/uapi/linux/tcp.h).
type tcpInfo struct {
	_            [44]byte
	lastDataSent uint32 // milliseconds ago
}

// waited is how long a TCP socket that has sent nothing has been connected: the
// kernel begins to count when it puts it into the queue. Other sockets have no time.
func waited(fd uintptr) time.Duration {
	var info tcpInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(sysGetsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || uintptr(size) < unsafe.Sizeof(info) {
		return 0
	}
	return time.Duration(info.lastDataSent) * time.Millisecond
}
