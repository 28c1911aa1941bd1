package migrating

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

func authBefore(ask lookup) lookup {
	cache := expirable.NewLRU[string, string](10_000, nil, time.Minute) // starts a goroutine that nothing ends
	return func(ctx context.Context, token string) (string, error) {
		if user, ok := cache.Get(token); ok {
			return user, nil
		}
		user, err := ask(ctx, token) // as often at once as there are callers
		if err != nil {
			return "", err
		}
		cache.Add(token, user)
		return user, nil
	}
}

func authAfter(ask lookup) lookup {
	return ttlcache.New(ask, ttlcache.Config[string, string]{
		TTL:        time.Minute,
		MaxEntries: 10_000,
		MaxLoads:   20, // lookups at once, over all tokens
		Denied:     func(err error) bool { return errors.Is(err, errDenied) },
		DenyTTL:    5 * time.Second,
		MaxStale:   10 * time.Minute, // while the provider is away
	}).Get
}

func TestExpirable(t *testing.T) {
	for name, auth := range map[string]func(lookup) lookup{"before": authBefore, "after": authAfter} {
		t.Run(name, func(t *testing.T) {
			p := &provider{}
			get := auth(p.ask)
			for range 3 {
				user, err := get(t.Context(), "good")
				require.NoError(t, err)
				require.Equal(t, "alice", user)
				_, err = get(t.Context(), "bad")
				require.ErrorIs(t, err, errDenied)
			}
			require.Equal(t, map[string]int{"before": 4, "after": 2}[name], p.asked, "a denial is remembered after")
		})
	}
}

// Fifty callers that miss the same token ask once after, and each before.
func TestExpirableStampede(t *testing.T) {
	const callers = 50
	for name, auth := range map[string]func(lookup) lookup{"before": authBefore, "after": authAfter} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			p := &provider{}
			arrived := make(chan struct{}, callers)
			held := make(chan struct{})
			get := auth(func(ctx context.Context, token string) (string, error) {
				arrived <- struct{}{}
				<-held
				mu.Lock()
				defer mu.Unlock()
				return p.ask(ctx, token)
			})
			var callersDone sync.WaitGroup
			for range callers {
				callersDone.Go(func() { _, _ = get(context.Background(), "good") })
			}
			want := map[string]int{"before": callers, "after": 1}[name]
			for range want {
				<-arrived
			}
			close(held)
			callersDone.Wait()
			require.Equal(t, want, p.asked)
		})
	}
}
