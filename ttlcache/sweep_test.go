package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// What has ended is let go, without anybody asking for anything: the values of verdicts,
// also of those that ended before others that came earlier, and the errors of denials.
func TestValuesOfTheDeadAreLetGo(t *testing.T) {
	const n, size = 1000, 10_000
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(func(_ context.Context, i int) ([]byte, error) {
			if i < 0 {
				return nil, fmt.Errorf("%w: %s", errBad, make([]byte, size))
			}
			return make([]byte, size), nil
		}, ttlcache.Config[int, []byte]{
			Key: func(h *ttlcache.Hash, i int) { h.Uint64(uint64(int64(i))) }, TTL: time.Hour, Denied: isBad, DenyTTL: time.Minute,
			Expires: func(v []byte) time.Time {
				if v == nil {
					return time.Time{}
				}
				return time.Now().Add(time.Duration(rand.IntN(600)) * time.Second)
			},
		})
		before := heap()
		for i := range n {
			if i%10 == 0 { // it ends later than many that come after it
				require.True(t, c.Put(-n-i-1, nil, time.Now()))
			}
			_, _ = c.Get(t.Context(), i+1)
			_, _ = c.Get(t.Context(), -i-1)
		}
		require.Greater(t, heap()-before, uint64(15e6))
		known := c.Len()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		_, ok := c.Peek(-n - 1)
		require.True(t, ok)
		require.Less(t, heap(), before+3e6)
		require.Equal(t, known, c.Len(), "the credentials stay known")
		require.Zero(t, c.Stats().Denied)
		runtime.KeepAlive(c)
	})
}

// A value that may be served stale is kept as long.
func TestStaleValuesAreKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var p provider
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, Denied: isBad, MaxStale: time.Hour})
		for i := range 100 {
			_, err := c.Get(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
			p.say(fmt.Sprint(i), errAway)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour + ttl - 100*time.Second - 1)
		for i := range 100 {
			_, err := c.Get(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Second)
		for i := range 100 {
			_, err := c.Get(t.Context(), fmt.Sprint(i))
			require.Equal(t, i < 10, errors.Is(err, errAway), "%d: %v", i, err)
		}
	})
}

// Those whose verdict is gone make room first, and count in the budget.
func TestKnownCredentialsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := number(ttlcache.Config[int, int]{MaxEntries: 100, TTL: ttl, Jitter: -1})
		put := func(from, to int) {
			for i := from; i < to; i++ {
				require.True(t, c.Put(i, i, time.Now()))
				require.LessOrEqual(t, c.Len(), 100)
			}
		}
		put(0, 200)
		require.EqualValues(t, 100, c.Stats().Evicted)
		time.Sleep(2 * ttl)
		put(200, 260)
		require.Equal(t, 100, c.Len())
		require.EqualValues(t, 100, c.Stats().Evicted, "none that is still served has gone")
		put(260, 500)
		require.Equal(t, 100, c.Len())
		time.Sleep(2 * ttl)
		require.Equal(t, 100, c.Len())
		put(490, 500)
		require.Equal(t, 100, c.Len(), "known ones come back in their own place")
	})
}

// A cache that nobody uses any more is collected, although its timer is running.
func TestTimerKeepsNoCache(t *testing.T) {
	gone := make(chan struct{})
	func() {
		c := ttlcache.New(new(provider).load, settings{TTL: time.Hour})
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		runtime.AddCleanup(c, func(int) { close(gone) }, 0)
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		select {
		case <-gone:
			return true
		default:
			return false
		}
	}, 30*time.Second, time.Millisecond)
}
