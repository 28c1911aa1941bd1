package ttlcachetest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// What the package comment shows.
func TestUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := ttlcachetest.Provider{Took: time.Second, Parallel: 8}
		cache := ttlcache.New(idp.Load, ttlcache.Config[string, string]{
			Denied: ttlcachetest.Denied, DenyTTL: time.Minute, TTL: time.Minute,
		})
		_, err := cache.Get(t.Context(), "token")
		require.NoError(t, err)
	})
}
