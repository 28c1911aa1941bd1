package ttlcache_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestNewPanicsOnContradictions(t *testing.T) {
	for field, c := range map[string]settings{
		"MaxEntries": {MaxEntries: -1},
		"MaxDenied":  {MaxDenied: -1},
		"MaxStale":   {MaxStale: 1},
		"Refresh":    {Refresh: 1},
		"Jitter":     {Jitter: 1.1},
		"Reserved":   {MaxLoads: 8, Reserved: 8},
	} {
		requirePanic(t, field, func() { ttlcache.New(new(provider).load, c) })
	}
	requirePanic(t, "Refresh", func() { ttlcache.New(new(provider).load, settings{Refresh: math.NaN()}) })
	requirePanic(t, "Jitter", func() { ttlcache.New(new(provider).load, settings{Jitter: math.NaN()}) })
	requirePanic(t, "Reserved", func() { ttlcache.New(new(provider).load, settings{Reserved: 32}) })
	requirePanic(t, "load", func() { ttlcache.New(nil, settings{}) })
	requirePanic(t, "Key", func() {
		ttlcache.New(func(context.Context, int) (string, error) { return "", nil }, ttlcache.Config[int, string]{})
	})
	requirePanic(t, "Key", func() {
		ttlcache.New(func(context.Context, any) (string, error) { return "", nil }, ttlcache.Config[any, string]{})
	})
}

func requirePanic(t *testing.T, field string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		require.Contains(t, recover(), field)
	}()
	f()
}

func TestNewAcceptsWhatIsOff(t *testing.T) {
	for _, c := range []settings{
		{},
		{TTL: -1, Jitter: -1, DenyTTL: -1, MaxStale: -1, Refresh: -1, MaxLoads: -1, MaxQueue: -1, Reserved: -1, LoadTimeout: -1},
		{MaxLoads: 1, MaxEntries: 1, MaxDenied: 1, Jitter: 1, Refresh: 0.999},
		{MaxLoads: -1, Reserved: 8},
		{TTL: math.MaxInt64, LoadTimeout: math.MaxInt64, MaxEntries: math.MaxInt32, MaxDenied: math.MaxInt32},
	} {
		cache := ttlcache.New(new(provider).load, c)
		v, err := cache.Get(t.Context(), "agent")
		require.NoError(t, err)
		require.Equal(t, "user of agent", v)
	}
}

// A credential is a string if its kind is, whatever its name.
func TestNamedStringNeedsNoKey(t *testing.T) {
	type token string
	c := ttlcache.New(func(_ context.Context, c token) (token, error) { return c, nil }, ttlcache.Config[token, token]{TTL: 1e9})
	v, err := c.Get(t.Context(), "agent")
	require.NoError(t, err)
	require.Equal(t, token("agent"), v)
}
