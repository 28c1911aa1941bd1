package ttlcache

import "sync/atomic"

// Stats counts events in a [Cache] since New. Each Get that found a Key
// is one of Hits, DeniedHits and Misses, unless its context was done.
type Stats struct {
	Hits       uint64 // Hits are Gets answered with a positive verdict from memory.
	DeniedHits uint64 // DeniedHits are Gets answered with a denial from memory.
	Misses     uint64 // Misses are Gets that found no verdict in memory.
	Joined     uint64 // Joined are the Misses that found a load on its way.
	Loads      uint64 // Loads are calls of the load, repeated ones and refreshes among them.
	Failed     uint64 // Failed loads gave no verdict in time, or had no turn in time.
	Shed       uint64 // Shed loads were not admitted.
	Stale      uint64 // Stale are the Misses answered with an expired verdict, see Config.MaxStale.
	Refreshed  uint64 // Refreshed loads were begun ahead of time, see Config.Refresh.
	Revoked    uint64 // Revoked verdicts were still served when Revoke or RevokeFunc ended them.
	Shared     uint64 // Shared are the Misses and renewals answered by the Tier.
	TierFailed uint64 // TierFailed counts failures of the Tier, and bytes in it that were of no use.
	Evicted    uint64 // Evicted positive verdicts were still served when they had to go for others.

	Loading int // Loading loads are running, those whose time is over and that go on among them.
	Waiting int // Waiting loads are in the queue.
	Entries int // Entries are positive verdicts in memory, as Len counts them.
	Denied  int // Denied are denials in memory, expired ones among them.
}

type counters struct {
	deniedHits, misses, joined, loads, failed, shed, stale, refreshed, revoked, evicted, shared, tierFailed atomic.Uint64
}

// Stats returns the counts up to now. Each is exact; together they may be of slightly
// different moments.
func (c *Cache[C, V]) Stats() Stats {
	n := &c.counters
	s := Stats{
		DeniedHits: n.deniedHits.Load(),
		Misses:     n.misses.Load(),
		Joined:     n.joined.Load(),
		Loads:      n.loads.Load(),
		Failed:     n.failed.Load(),
		Shed:       n.shed.Load(),
		Stale:      n.stale.Load(),
		Refreshed:  n.refreshed.Load(),
		Revoked:    n.revoked.Load(),
		Evicted:    n.evicted.Load(),
		Shared:     n.shared.Load(),
		TierFailed: n.tierFailed.Load(),
		Entries:    c.Len(),
		Denied:     c.denials.len(),
	}
	for i := range c.shards {
		s.Hits += c.shards[i].hits.Load()
	}
	s.Loading, s.Waiting = c.admission.counts()
	return s
}

// revoked counts and tells verdicts that were revoked.
func (c *Cache[C, V]) revoked(keys ...digest) {
	c.counters.revoked.Add(uint64(len(keys)))
	for i := range keys {
		c.tell(Event{Kind: Revoked, Key: keys[i].name()})
	}
}
