package redistier

import "time"

// VersionOf checks what INFO says about the server.
func VersionOf(info string) error { return versionOf(info) }

// SetMaxLog sets how many entries the log has at most.
func (t *Tier) SetMaxLog(n int) { t.maxLog = n }

// Falling returns a number that falls slowly.
func Falling() func(n int, now time.Time) (int, bool) {
	var s slowly
	return s.next
}
