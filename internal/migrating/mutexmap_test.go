package migrating

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A verdict is one answer in a map.
type verdict struct {
	user string
	at   time.Time
}

func lookUpBefore(ask func(ctx context.Context, token string) (string, error)) func(ctx context.Context, token string) (string, error) {
	var mu sync.RWMutex
	known := map[string]verdict{} // tokens in clear, and no bound
	return func(ctx context.Context, token string) (string, error) {
		mu.RLock()
		v, ok := known[token]
		mu.RUnlock()
		if ok && time.Since(v.at) < time.Minute {
			return v.user, nil
		}
		user, err := ask(ctx, token) // as many at once as there are callers; a bad token each time
		if err != nil {
			return "", err
		}
		mu.Lock()
		known[token] = verdict{user, time.Now()}
		mu.Unlock()
		return user, nil
	}
}

func lookUpAfter(ask func(ctx context.Context, token string) (string, error)) func(ctx context.Context, token string) (string, error) {
	cache := ttlcache.New(ask, ttlcache.Config[string, string]{
		Denied:  func(err error) bool { return errors.Is(err, errDenied) }, // every other error is no verdict
		DenyTTL: 5 * time.Second,
		TTL:     time.Minute,
	})
	return cache.Get
}

// 200 agents with a token each come at once, and one bad token comes a hundred times.
func TestMutexMap(t *testing.T) {
	for name, c := range map[string]struct {
		auth       func(func(context.Context, string) (string, error)) func(context.Context, string) (string, error)
		peak, asks int
	}{"before": {lookUpBefore, 200, 300}, "after": {lookUpAfter, 32, 201}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var now, peak, asks int
				auth := c.auth(func(_ context.Context, token string) (string, error) {
					mu.Lock()
					now++
					asks++
					peak = max(peak, now)
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					mu.Lock()
					now--
					mu.Unlock()
					if token == "bad" {
						return "", errDenied
					}
					return "user", nil
				})
				var all sync.WaitGroup
				for i := range 200 {
					all.Go(func() {
						_, err := auth(t.Context(), string(rune('0'+i)))
						require.NoError(t, err)
					})
				}
				all.Wait()
				for range 100 {
					_, err := auth(t.Context(), "bad")
					require.ErrorIs(t, err, errDenied)
				}
				require.Equal(t, c.peak, peak)
				require.LessOrEqual(t, asks, c.asks+2)
				require.GreaterOrEqual(t, asks, c.asks)
			})
		})
	}
}
