package main

import (
	"database/sql"
	"log"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// limits are what all replicas may do together, and where this one keeps its share. What
// is nil is left out.
type limits struct {
	loads    int             // lookups at once at the provider
	logins   int             // at once
	door     listener.Limits // of one replica, but for MaxPending, which is of all
	database dbpool.Budget

	cache *ttlcache.Cache[string, string]
	pacer *backoff.Pacer
	gate  *listener.Throttled
	db    *sql.DB
}

// divide gives this replica its share of n. It is what redistier's Replicas calls, or
// whoever watches an EndpointSlice.
func (l limits) divide(n int) {
	if l.cache != nil {
		l.cache.SetMaxLoads(share(l.loads, n))
	}
	if l.pacer != nil {
		l.pacer.SetMaxPending(share(l.logins, n))
	}
	if l.gate != nil {
		mine := l.door
		mine.MaxPending = share(l.door.MaxPending, n)
		l.gate.SetLimits(mine)
	}
	if l.db == nil {
		return
	}
	l.database.Replicas = n
	open, err := l.database.PerProcess()
	if err != nil { // too many replicas for this server
		log.Print("replicas: ", err)
		open = 1
	}
	if err := (dbpool.Config{MaxOpen: open}).Apply(l.db); err != nil {
		log.Print("replicas: ", err)
	}
}

// share is rounded down, so that the sum is never too much, but nobody has none. Zero and
// less, which is no limit, stays.
func share(all, n int) int {
	if all <= 0 {
		return all
	}
	return max(1, all/max(1, n))
}
