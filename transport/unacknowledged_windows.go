package transport

import (
	"syscall"
	"time"
)

// tcpMaxRT is TCP_MAXRT of Windows, in seconds.
const tcpMaxRT = 5

func limitUnacknowledged(fd uintptr, limit time.Duration) error {
	return syscall.SetsockoptInt(syscall.Handle(fd), syscall.IPPROTO_TCP, tcpMaxRT, int(limit.Seconds()))
}
