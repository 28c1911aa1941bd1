//go:build !linux

package dbpool_test

import (
	"syscall"
	"testing"
)

// checkOptions needs names that package syscall does not have on all systems.
func checkOptions(*testing.T, syscall.RawConn, [5]int) {}
