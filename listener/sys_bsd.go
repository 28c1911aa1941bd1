//go:build unix && !linux

package listener

import (
	"syscall"
	"time"
)

// peerClosed reports whether the client of a socket has left: whether a read would
// find the end. One that has only finished writing looks the same, so half asks
// nothing; nor is a client noticed that has sent something before it left.
func peerClosed(fd uintptr, half bool) bool {
	if half {
		return false
	}
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n == 0 && err == nil || err == syscall.ECONNRESET
}

// waited is not known here.
func waited(uintptr) time.Duration { return 0 }

// backlogOf is not known here.
func backlogOf(uintptr) int { return 0 }

// endVanished has no means here; keep-alives do it.
func endVanished(uintptr, time.Duration) {}

// endsVanished is true where there is nothing to set.
func endsVanished(uintptr) bool { return true }

var clientErrorsHere []error
