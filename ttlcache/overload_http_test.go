package ttlcache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// The same on real sockets and in real time: twelve seconds of ten times the capacity. The
// provider, as real ones, goes on with a request that its client has given up.
func TestOverloadOverHTTP(t *testing.T) {
	if os.Getenv("CONNHYGIENE_OVERLOAD") == "" {
		t.Skip("takes 12 s of an idle machine; set CONNHYGIENE_OVERLOAD=1")
	}
	const seconds, slots, took = 12, 8, 100 * time.Millisecond
	const capacity = float64(slots) * float64(time.Second) / float64(took)
	var asked atomic.Int64
	provider := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		_ = pause(context.Background(), around(random(uint64(asked.Add(1))), took, 0.3))
	}))
	defer provider.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: slots}}
	defer client.CloseIdleConnections()
	c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, provider.URL+"/"+token, nil)
		if err != nil {
			return "", err
		}
		answer, err := client.Do(r)
		if err != nil {
			return "", err
		}
		return token, answer.Body.Close()
	}, settings{TTL: ttl, MaxLoads: slots, LoadTimeout: 3 * took})

	var served [seconds + 1]atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	second := func() int { return min(seconds, int(time.Since(began)/time.Second)) }
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; second() < seconds; i++ {
		if i%8 == 0 { // eight callers each ten milliseconds
			<-tick.C
		}
		callers.Go(func() {
			if _, err := c.Get(t.Context(), fmt.Sprint(i)); err == nil {
				served[second()].Add(1)
			}
		})
	}
	callers.Wait()
	for i := range seconds {
		t.Logf("second %2d: %d of %.0f", i, served[i].Load(), capacity)
	}
	t.Logf("the provider was asked %d times, %.2f of its capacity", asked.Load(), float64(asked.Load())/capacity/seconds)
	require.LessOrEqual(t, float64(asked.Load()), 1.2*capacity*seconds)
	for i := 1; i < seconds; i++ {
		require.GreaterOrEqual(t, float64(served[i].Load()), 0.7*capacity, "second %d", i)
	}
}
