package transport

import (
	"syscall"
	"time"
)

// tcpRxtConnDropTime is TCP_RXT_CONNDROPTIME of tcp(4), in seconds.
const tcpRxtConnDropTime = 0x80

func limitUnacknowledged(fd uintptr, limit time.Duration) error {
	return syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRxtConnDropTime, int(limit.Seconds()))
}
