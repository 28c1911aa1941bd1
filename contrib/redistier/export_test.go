package redistier

import "time"

// VersionOf checks what INFO says about the server.
func VersionOf(info string) error { return versionOf(info) }

// Falling returns a number that falls slowly.
func Falling() func(n int, now time.Time) (int, bool) {
	var s slowly
	return s.next
}
