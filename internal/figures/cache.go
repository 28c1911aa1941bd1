package figures

import "github.com/connhygiene/connhygiene/ttlcache"

// Cache returns the figures of a ttlcache.Cache.
func Cache() []Figure[ttlcache.Stats] {
	type S = ttlcache.Stats
	const p = "connhygiene.ttlcache."
	return []Figure[S]{
		counter(p+"hits", "{call}", "Gets answered with a positive verdict from memory.", func(s S) uint64 { return s.Hits }),
		counter(p+"denied_hits", "{call}", "Gets answered with a denial from memory.", func(s S) uint64 { return s.DeniedHits }),
		counter(p+"misses", "{call}", "Gets that found no verdict in memory.", func(s S) uint64 { return s.Misses }),
		counter(p+"joined", "{call}", "Misses that found a load on its way.", func(s S) uint64 { return s.Joined }),
		counter(p+"loads", "{load}", "Questions to the authenticator.", func(s S) uint64 { return s.Loads }),
		counter(p+"failed", "{load}", "Loads that gave no verdict in time, or had no turn.", func(s S) uint64 { return s.Failed }),
		counter(p+"shed", "{load}", "Loads that were not admitted.", func(s S) uint64 { return s.Shed }),
		counter(p+"stale", "{call}", "Misses answered with an expired verdict.", func(s S) uint64 { return s.Stale }),
		counter(p+"refreshed", "{load}", "Loads begun ahead of time.", func(s S) uint64 { return s.Refreshed }),
		counter(p+"revoked", "{verdict}", "Verdicts that were revoked while they were served.", func(s S) uint64 { return s.Revoked }),
		counter(p+"shared", "{call}", "Misses and renewals answered by the tier that replicas share.", func(s S) uint64 { return s.Shared }),
		counter(p+"tier_failed", "{error}", "What the tier failed to do, and what it kept that was of no use.", func(s S) uint64 { return s.TierFailed }),
		counter(p+"evicted", "{verdict}", "Positive verdicts that had to go for others while they were served.", func(s S) uint64 { return s.Evicted }),
		gauge(p+"loading", "{load}", "Loads that run now.", func(s S) int { return s.Loading }),
		gauge(p+"waiting", "{load}", "Loads in the queue now.", func(s S) int { return s.Waiting }),
		gauge(p+"entries", "{verdict}", "Positive verdicts in memory.", func(s S) int { return s.Entries }),
		gauge(p+"denied", "{verdict}", "Denials in memory.", func(s S) int { return s.Denied }),
	}
}
