package ttlcache_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// Each Get is a hit, a hit of a denial or a miss, and one of them only, however it ends.
func TestStatsCountEachGetOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		p.say("denied", errBad)
		p.say("failed", errAway)
		c := ttlcache.New(p.load, settings{TTL: ttl, Denied: isBad, DenyTTL: ttl, MaxLoads: 2, MaxQueue: 2, Reserved: -1})
		gets := uint64(0)
		for _, token := range []string{"loaded", "denied", "failed"} {
			for _, put := range []bool{false, true} {
				c.Clear()
				time.Sleep(time.Nanosecond)
				calls := []*call{get(t.Context(), c, token), get(t.Context(), c, token)}
				synctest.Wait()
				if put { // so that the load finds a newer verdict
					require.True(t, c.Put(token, "ada", time.Now()))
				}
				for range 2 {
					calls = append(calls, get(t.Context(), c, token))
					synctest.Wait()
				}
				for _, g := range calls {
					<-g.done
				}
				_, _ = c.Get(t.Context(), token)
				gets += uint64(len(calls)) + 1
				s := c.Stats()
				require.Equal(t, gets, s.Hits+s.DeniedHits+s.Misses, "%s, %t: %+v", token, put, s)
			}
		}
		var calls []*call
		for i := range 10 {
			calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
		}
		for _, g := range calls {
			<-g.done
		}
		gets += uint64(len(calls))
		s := c.Stats()
		require.Equal(t, gets, s.Hits+s.DeniedHits+s.Misses, "%+v", s)
		require.EqualValues(t, 6, s.Shed)
		require.Equal(t, s.Misses, s.Loads+s.Joined+s.Shed, "%+v", s)
	})
}
