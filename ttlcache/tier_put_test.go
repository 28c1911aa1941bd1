package ttlcache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// A log that begins anew at a lower position ends what was asked for under the old one.
func TestLogThatBeginsAnew(t *testing.T) {
	require.True(t, ttlcache.LogBeginsAnew(100, 1, 50))
	require.False(t, ttlcache.LogBeginsAnew(100, 1, 100))
}

// Nobody can tell the tier when the login of a Put was asked for, so it stays here.
func TestPutIsNotShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier), replica(t, p, tier)
		time.Sleep(time.Millisecond) // the log began in this instant, with All
		require.True(t, a.Put("x", "user of x", time.Now()))
		must(t, a, "x")
		require.Zero(t, p.asks("x"))
		require.Zero(t, tier.Stats().Puts)
		must(t, b, "x")
		require.Equal(t, 1, p.asks("x"))
	})
}
