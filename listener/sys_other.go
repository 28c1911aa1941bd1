//go:build !unix && !windows

package listener

import (
	"errors"
	"math"
	"time"
)

// shortages and clientErrors are known by their Temporary method alone.
var shortages, clientErrors []error

const systemBacklog = math.MaxInt32

// listenAgain has no means here.
func listenAgain(uintptr, int) error { return errors.ErrUnsupported }

// peerClosed is not known here.
func peerClosed(uintptr, bool) bool { return false }

// waited is not known here.
func waited(uintptr) time.Duration { return 0 }

// backlogOf is not known here.
func backlogOf(uintptr) int { return 0 }

// endVanished has no means here.
func endVanished(uintptr, time.Duration) {}

// endsVanished is true where there is nothing to set.
func endsVanished(uintptr) bool { return true }
