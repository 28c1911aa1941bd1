//go:build !linux

package dbpool

import (
	"net"
	"time"
)

// setUserTimeout does nothing: the system has no such option, or not for a time that
// is ours to choose.
func setUserTimeout(*net.TCPConn, time.Duration) {}
