//go:build unix

package listener

import (
	"math"
	"syscall"
)

// shortages are the errors of a system that has run out of something.
var shortages = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}

// clientErrors concern the one connection that accept(2) would have returned: what
// its manual says to treat like EAGAIN, a firewall's EPERM, and the client's own end.
var clientErrors = append([]error{
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPERM, syscall.EPROTO,
	syscall.ENOPROTOOPT, syscall.EOPNOTSUPP, syscall.ENETDOWN, syscall.ENETUNREACH,
	syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
}, clientErrorsHere...)

// systemBacklog is the longest queue that the system allows, which caps it
// (somaxconn): the backlog of net.Listen.
const systemBacklog = math.MaxInt32

// listenAgain changes the queue of a socket that is listening: listen(2) may be
// called again. net has no way to do it (golang/go#39000).
func listenAgain(fd uintptr, n int) error { return syscall.Listen(int(fd), n) }
