package main

import (
	"context"
	"database/sql"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/ttlcache"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Every limit is divided by the replicas that are alive, and nobody is left without.
func TestDivide(t *testing.T) {
	l := listenertest.New()
	gate := listener.Throttle(l, listener.Limits{MaxPending: 30})
	defer gate.Close()
	var server dbpooltest.Server
	db := sql.OpenDB(server.Connector())
	defer db.Close()
	cache := ttlcache.New(func(context.Context, string) (string, error) { return "", nil }, ttlcache.Config[string, string]{TTL: time.Minute})
	pacer := &backoff.Pacer{}
	all := limits{
		loads: 32, logins: 6, pacer: pacer, door: listener.Limits{MaxPending: 30}, database: dbpool.Budget{MaxConnections: 100, Reserved: 10, Parallel: -1},
		cache: cache, gate: gate, db: db,
	}
	for n, want := range map[int][2]int{1: {30, 90}, 3: {10, 30}, 30: {1, 3}, 60: {1, 1}} {
		all.divide(n)
		require.Equal(t, want[0], gate.Limits().MaxPending, "%d replicas", n)
		require.Equal(t, want[1], db.Stats().MaxOpenConnections, "%d replicas", n)
	}
	all.divide(3)
	for range 2 {
		_, err := pacer.Enter()
		require.NoError(t, err)
	}
	_, err := pacer.Enter()
	require.Error(t, err, "a third of six logins")
	all.divide(1000) // more than there are connections
	require.Equal(t, 1, db.Stats().MaxOpenConnections)
	limits{}.divide(3)
	require.Equal(t, 0, share(0, 3))
	require.Equal(t, -1, share(-1, 3))
	require.Equal(t, 5, share(5, 0))
}
