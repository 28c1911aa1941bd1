//go:build linux || darwin

package storm

import (
	"math"
	"syscall"
)

// descriptorLimit is how many file descriptors this process may have. Go has
// raised the soft limit to the hard one at start.
func descriptorLimit() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return math.MaxUint64
	}
	return l.Cur
}
