package ttlcache

import (
	"fmt"
	"time"
)

// A Kind is the subject of an [Event].
type Kind uint8

// The kinds of events. A load's events come on the goroutine of the load, or on one of
// their own if its time is over, once its callers have the result.
const (
	Loaded     Kind = iota + 1 // Loaded: a load gave a positive verdict.
	Denied                     // Denied: a load gave a denial, Err.
	Failed                     // Failed: a load ended without a verdict, but with Err.
	Shed                       // Shed: a load was not admitted, on the goroutine of a Get.
	Stale                      // Stale: a Get was answered with an expired verdict because of Err, on its goroutine.
	Revoked                    // Revoked: a verdict was revoked, on the goroutine of Revoke or RevokeFunc.
	Evicted                    // Evicted: a positive verdict had to go for another, on the goroutine of the load or the Put.
	Panicked                   // Panicked: a load panicked; Err is a *PanicError.
	TierFailed                 // TierFailed: the Tier failed, or keeps bytes that are of no use, on any goroutine of the cache.
)

// String returns the name in lower case.
func (k Kind) String() string {
	names := [...]string{"loaded", "denied", "failed", "shed", "stale", "revoked", "evicted", "panicked", "tier failed"}
	if k < Loaded || k > TierFailed {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return names[k-Loaded]
}

// An Event is given to [Config.OnEvent]. It holds no credential, unless the load puts one
// into its error.
type Event struct {
	Kind Kind          // Kind is the subject of the event.
	Key  [8]byte       // Key is the beginning of the digest of the credential: it tells credentials apart, and nothing about them.
	Err  error         // Err is the reason, or nil.
	Took time.Duration // Took is how long the load ran, its wait for a turn not counted; zero without one.
	Age  time.Duration // Age is how long ago the verdict that was served was asked for, if Kind is Stale.
}

// name is the beginning of the digest, for events.
func (k *digest) name() [8]byte { return [8]byte(k[:8]) }

// tell does without an observer that panics: a metric must not cost a verdict.
func (c *Cache[C, V]) tell(e Event) {
	defer func() { _ = recover() }()
	c.config.OnEvent(e)
}
