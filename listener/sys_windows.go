package listener

import (
	"errors"
	"math"
	"syscall"
	"time"
)

// shortages are the errors of a system that has run out of something: WSAEMFILE
// and WSAENOBUFS, of which package syscall has no names, and those that it invents.
var shortages = []error{
	syscall.Errno(10024), syscall.Errno(10055), syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
}

// clientErrors concern one connection: the names are WSAENETDOWN, WSAENETUNREACH,
// WSAETIMEDOUT, WSAEHOSTDOWN and WSAEHOSTUNREACH where package syscall has none.
var clientErrors = []error{
	syscall.WSAECONNRESET, syscall.WSAECONNABORTED, syscall.Errno(10050), syscall.Errno(10051),
	syscall.Errno(10060), syscall.Errno(10064), syscall.Errno(10065),
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPERM, syscall.EPROTO,
	syscall.ENOPROTOOPT, syscall.EOPNOTSUPP, syscall.ENETDOWN, syscall.ENETUNREACH,
	syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
}

const systemBacklog = math.MaxInt32

// listenAgain has no means here.
func listenAgain(uintptr, int) error { return errors.ErrUnsupported }

// peerClosed is not known here.
func peerClosed(uintptr, bool) bool { return false }

// waited is not known here.
func waited(uintptr) time.Duration { return 0 }

// backlogOf is not known here.
func backlogOf(uintptr) int { return 0 }

// endVanished has no means here; keep-alives do it.
func endVanished(uintptr, time.Duration) {}

// endsVanished is true where there is nothing to set.
func endsVanished(uintptr) bool { return true }
