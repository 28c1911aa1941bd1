package ttlcache_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestNewPanicsOnContradictions(t *testing.T) {
	for field, c := range map[string]settings{
		"MaxEntries": {MaxEntries: -1},
		"MaxDenied":  {MaxDenied: -1},
		"MaxStale":   {MaxStale: 1},
		"StaleAfter": {StaleAfter: 1, Denied: isBad},
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

// What zero means, in numbers. Each load hangs until all have been counted.
func TestDefaults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		c := ttlcache.New(func(_ context.Context, token string) (string, error) {
			<-release
			return token, nil
		}, settings{TTL: ttl})
		const strangers = 32 // the reserve is lent, since no credential is known
		var calls []*call
		for i := range 5000 {
			calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
		}
		synctest.Wait()
		s := c.Stats()
		require.Equal(t, strangers, s.Loading)
		require.Equal(t, 4096, s.Waiting)
		require.EqualValues(t, 5000-strangers-4096, s.Shed)
		began := time.Now()
		for _, g := range calls {
			<-g.done
		}
		require.Equal(t, 15*time.Second, time.Since(began))
		close(release)
		synctest.Wait()
		require.Zero(t, c.Stats().Loading)
	})
}

func TestDefaultBudgets(t *testing.T) {
	if raceEnabled {
		t.Skip("there are no two goroutines in it")
	}
	c := number(ttlcache.Config[int, int]{})
	for i := range 80_000 {
		require.True(t, c.Put(i+1, 0, time.Now()))
		if i < 10_000 {
			_, err := c.Get(t.Context(), -i-1)
			require.ErrorIs(t, err, errBad)
		}
	}
	require.Equal(t, 65536, c.Len())
	require.Equal(t, 4096, c.Stats().Denied)
}

// A credential may be of no size, and so may what is said about it.
func TestNothingIsACredential(t *testing.T) {
	loads := 0
	c := ttlcache.New(func(context.Context, struct{}) (struct{}, error) { loads++; return struct{}{}, nil },
		ttlcache.Config[struct{}, struct{}]{TTL: ttl, Key: func(h *ttlcache.Hash, _ struct{}) { h.Bytes(nil) }})
	for range 3 {
		_, err := c.Get(t.Context(), struct{}{})
		require.NoError(t, err)
	}
	require.Equal(t, 1, loads)
	require.True(t, c.Revoke(struct{}{}))
	require.Zero(t, c.Len())
}
