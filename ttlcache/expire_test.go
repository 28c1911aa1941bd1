package ttlcache_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A change of roles: all of a user's credentials are asked for again, ahead of strangers.
func TestExpire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: time.Hour, MaxLoads: 2, Reserved: 1, MaxQueue: 4})
		for i := range 100 {
			require.True(t, c.Put(fmt.Sprint("agent", i), fmt.Sprint("org", i%10), time.Now()))
		}
		require.Equal(t, 10, c.Expire(func(v string) bool { return v == "org3" }))
		require.Zero(t, c.Expire(func(v string) bool { return v == "org3" }), "again")
		require.Equal(t, 100, c.Len(), "they stay known")
		require.Zero(t, c.Stats().Revoked)
		for i := range 100 {
			require.Equal(t, i%10 != 3, peek(c, fmt.Sprint("agent", i)))
		}
		require.False(t, c.Put("agent3", "org3", time.Now()), "it was asked before")
		var flood []*call
		for i := range 100 {
			flood = append(flood, get(t.Context(), c, fmt.Sprint("stranger", i)))
		}
		synctest.Wait()
		g := get(t.Context(), c, "agent3")
		v, err := g.wait()
		require.NoError(t, err)
		require.Equal(t, "user of agent3", v)
		require.Equal(t, time.Second, g.took, "in one round trip, though 100 strangers wait")
		for _, g := range flood {
			<-g.done
		}
		p.say("agent13", errAway)
		_, err = c.Get(t.Context(), "agent13")
		require.ErrorIs(t, err, errAway, "roles that have changed are not served stale")
		require.PanicsWithValue(t, "ttlcache: Expire with nil match", func() { c.Expire(nil) })
	})
}

// A load in flight that has asked before asks again.
func TestExpireDuringALoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, asked := versions(settings{})
		g := get(t.Context(), c, "agent")
		time.Sleep(time.Second / 2)
		require.Zero(t, c.Expire(startsWith("agent 1")))
		v, err := g.wait()
		require.NoError(t, err)
		require.Equal(t, "agent 2", v)
		require.Equal(t, 2, asked["agent"])
	})
}

func TestSetMaxLoads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 4, LoadTimeout: time.Hour})
		var calls []*call
		for i := range 1000 {
			calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
		}
		loading := func() int {
			synctest.Wait()
			return c.Stats().Loading
		}
		require.Equal(t, 4, loading())
		c.SetMaxLoads(10)
		require.Equal(t, 10, loading(), "those that wait begin at once")
		c.SetMaxLoads(2)
		require.Equal(t, 10, loading(), "those that run go on")
		time.Sleep(time.Second)
		require.Equal(t, 2, loading())
		time.Sleep(10 * time.Second)
		require.Equal(t, 2, loading())
		c.SetMaxLoads(0)
		require.Equal(t, 32, loading(), "the default")
		c.SetMaxLoads(-1)
		require.Equal(t, 1000-10-2*10, loading(), "no limit")
		for _, g := range calls {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Equal(t, 3, p.asks("0")+p.asks("1")+p.asks("2"))
	})
}

// What is reserved follows.
func TestSetMaxLoadsAndTheReserve(t *testing.T) {
	for _, test := range []struct{ reserved, max, want int }{{0, 8, 6}, {2, 4, 2}, {6, 4, 1}, {-1, 4, 4}, {0, 1, 1}} {
		bubble(t, func(t *testing.T) {
			p := provider{took: time.Second}
			c := ttlcache.New(p.load, settings{TTL: ttl, MaxLoads: 20, Reserved: test.reserved, LoadTimeout: time.Hour})
			require.True(t, c.Put("agent", "", time.Now()))
			time.Sleep(ttl)
			c.SetMaxLoads(test.max)
			require.Equal(t, test.want, strangersAtOnce(t, c, "stranger"), test)
		})
	}
}
