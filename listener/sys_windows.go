package listener

import (
	"errors"
	"math"
	"syscall"
)

// shortages are the errors of a system that has run out of something: WSAEMFILE
// and WSAENOBUFS, of which package syscall has no names, and clients that left.
var shortages = []error{
	syscall.Errno(10024), syscall.Errno(10055), syscall.WSAECONNRESET, syscall.WSAECONNABORTED,
}

const systemBacklog = math.MaxInt32

// setBacklog has no means here.
func setBacklog(syscall.Conn, int) error { return errors.ErrUnsupported }

// left is not known here.
func left(uintptr, bool) bool { return false }
