package redistier_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// A provider that may be asked for `capacity` verdicts at once, by all replicas together.
type upstream struct{ now, peak, lookups atomic.Int64 }

func (u *upstream) ask(ctx context.Context, token string) (string, error) {
	n := u.now.Add(1)
	defer u.now.Add(-1)
	for peak := u.peak.Load(); n > peak && !u.peak.CompareAndSwap(peak, n); peak = u.peak.Load() {
	}
	u.lookups.Add(1)
	select {
	case <-time.After(20 * time.Millisecond):
		return "user of " + token, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// While replicas come and go, each of which takes all that its limit allows, the provider
// never sees more than 1.1 of its capacity, and after each change nearly all of it is used
// again.
func TestReplicasShareOneCapacity(t *testing.T) {
	t.Parallel()
	const capacity, most = 60, 20
	redis := redis(t)
	var provider upstream
	var told sync.Map // by replica
	var all sync.WaitGroup
	join := func(name string) (leave func()) {
		ctx, cancel := context.WithCancel(t.Context())
		tier := redis.tier(t, redistier.Config{})
		cache := ttlcache.New(provider.ask, ttlcache.Config[string, string]{TTL: time.Minute, MaxLoads: capacity / most, Secret: make([]byte, 32)})
		var replica sync.WaitGroup
		replica.Go(func() {
			_ = tier.Replicas(ctx, func(n int) {
				cache.SetMaxLoads(max(1, capacity/n))
				told.Store(name, n)
			})
		})
		for client := range capacity { // each asks for one stranger after the other
			replica.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					_, _ = cache.Get(ctx, fmt.Sprint(name, client, i))
				}
			})
		}
		all.Go(replica.Wait)
		return func() {
			cancel()
			replica.Wait()
			told.Delete(name)
			cache.Close()
		}
	}
	await := func(n int) { // until every replica knows that there are n
		t.Helper()
		require.Eventually(t, func() bool {
			agree, know := true, 0
			told.Range(func(_, number any) bool {
				know++
				agree = agree && number == n
				return true
			})
			return agree && know == n
		}, 40*time.Second, 10*time.Millisecond)
	}
	var leave []func()
	for n := 1; n <= 4; n++ {
		leave = append(leave, join(fmt.Sprint("replica ", n)))
		await(n)
	}
	for n := 3; n >= 2; n-- {
		leave[n]()
		await(n)
	}
	provider.lookups.Store(0)
	began := time.Now()
	require.Eventually(t, func() bool { return provider.lookups.Load() >= 2000 }, 40*time.Second, time.Millisecond)
	t.Logf("peak %d of %d at once; two replicas then get %.0f answers a second", provider.peak.Load(), capacity, 2000/time.Since(began).Seconds())
	leave[0]()
	leave[1]()
	all.Wait()
	require.LessOrEqual(t, provider.peak.Load(), int64(capacity*11/10))
	require.Greater(t, provider.peak.Load(), int64(capacity*8/10), "nearly all of it is used")
}
