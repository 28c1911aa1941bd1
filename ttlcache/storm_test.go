package ttlcache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A fleet comes back at once: each credential is another, so joining loads does
// nothing, and the bound over all of them does everything.
func TestStorm(t *testing.T) {
	for _, test := range []struct {
		name     string
		reserved int
		peak     int64
		took     time.Duration
	}{
		{"nothing is reserved", -1, 20, 2 * time.Second},
		{"the reserve is lent, since no credential is known", 0, 20, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := provider{took: 50 * time.Millisecond}
				c := ttlcache.New(p.load, settings{TTL: time.Minute, MaxLoads: 20, Reserved: test.reserved})
				began := time.Now()
				var calls []*call
				for i := range 800 {
					calls = append(calls, get(t.Context(), c, fmt.Sprint("agent", i)))
				}
				for i, g := range calls {
					v, err := g.wait()
					require.NoError(t, err)
					require.Equal(t, fmt.Sprint("user of agent", i), v)
				}
				require.Equal(t, test.took, time.Since(began))
				require.Equal(t, test.peak, p.peak.Load())
				require.EqualValues(t, 800, c.Stats().Loads)
			})
		})
	}
}

func TestCallersOfOneCredentialShareALoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: 50 * time.Millisecond}
		c := ttlcache.New(p.load, settings{TTL: time.Minute})
		var calls []*call
		for range 100 {
			calls = append(calls, get(t.Context(), c, "agent"))
		}
		for _, g := range calls {
			v, err := g.wait()
			require.NoError(t, err)
			require.Equal(t, "user of agent", v)
			require.Equal(t, 50*time.Millisecond, g.took)
		}
		require.Equal(t, 1, p.asks("agent"))
		require.Equal(t, ttlcache.Stats{Misses: 100, Joined: 99, Loads: 1, Entries: 1}, c.Stats())
	})
}
