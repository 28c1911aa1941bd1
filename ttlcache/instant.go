package ttlcache

import "time"

// An instant is a monotonic time, in nanoseconds since the cache was made.
type instant int64

const distantFuture instant = 1<<63 - 1

// now does not read the wall clock, which may be set.
func (c *Cache[C, V]) now() instant { return instant(time.Since(c.base)) }

// add returns t+d, or the end of time if that comes first. A d below zero is for a t that
// is not.
func (t instant) add(d time.Duration) instant {
	sum := t + instant(d)
	if d > 0 && sum < t {
		return distantFuture
	}
	return sum
}
