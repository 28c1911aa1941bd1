//go:build !unix && !windows

package listener

import (
	"errors"
	"math"
	"syscall"
)

// shortages are known by their Temporary method alone.
var shortages []error

const systemBacklog = math.MaxInt32

// setBacklog has no means here.
func setBacklog(syscall.Conn, int) error { return errors.ErrUnsupported }

// left is not known here.
func left(uintptr, bool) bool { return false }
