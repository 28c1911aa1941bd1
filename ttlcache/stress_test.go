package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// stressTime is how long the stress runs for each number of processors. A variable
// like CONNHYGIENE_STRESS=10s makes it longer.
func stressTime(t *testing.T) time.Duration {
	d, err := time.ParseDuration(os.Getenv("CONNHYGIENE_STRESS"))
	if os.Getenv("CONNHYGIENE_STRESS") == "" {
		return 250 * time.Millisecond
	}
	require.NoError(t, err)
	return d
}

// A version is what the provider of the stress says: the number of the credential,
// and how often that had been revoked when it was asked.
type version struct{ key, n uint64 }

// Eight goroutines do everything at once. What must hold: nobody gets a verdict that
// was asked for before a revocation that had returned when they began, nobody gets
// one of another credential, and the budgets hold at every moment.
func TestStress(t *testing.T) {
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for _, timeout := range []time.Duration{time.Second, 100 * time.Microsecond} { // the latter is too short for many loads
				newStress(timeout).run(t, stressTime(t)/2)
			}
		})
	}
}

func (s *stress) run(t *testing.T, d time.Duration) {
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range 8 {
		wg.Go(func() {
			r := random(uint64(i))
			for time.Now().Before(end) {
				s.step(t, uint64(r.IntN(stressKeys)), r.IntN(100))
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return s.cache.Stats().Loading == 0 }, 10*time.Second, time.Millisecond)
	stats := s.cache.Stats()
	t.Logf("%+v", stats)
	require.LessOrEqual(t, s.peak.Load(), int64(4))
	require.Zero(t, stats.Waiting)
}

const stressKeys = 200

type stress struct {
	cache     *ttlcache.Cache[uint64, version]
	revoked   [stressKeys]atomic.Uint64 // counted before the cache is told
	fenced    [stressKeys]atomic.Uint64 // what of it the cache has been told
	now, peak atomic.Int64
}

func newStress(timeout time.Duration) *stress {
	s := &stress{}
	s.cache = ttlcache.New(s.load, ttlcache.Config[uint64, version]{
		Key: func(h *ttlcache.Hash, k uint64) { h.Uint64(k) },
		TTL: 2 * time.Millisecond, Refresh: 0.5, Denied: isBad, DenyTTL: time.Millisecond, MaxStale: time.Millisecond,
		MaxEntries: 128, MaxDenied: 16, MaxLoads: 4, MaxQueue: 8, LoadTimeout: timeout,
	})
	return s
}

func (s *stress) load(_ context.Context, k uint64) (version, error) {
	s.peak.Store(max(s.peak.Load(), s.now.Add(1))) // a lower bound of the peak is enough
	defer s.now.Add(-1)
	v := version{k, s.revoked[k].Load()}
	runtime.Gosched()
	switch k % 10 {
	case 0:
		return version{}, errBad
	case 1:
		return version{}, errAway
	}
	return v, nil
}

func (s *stress) step(t *testing.T, k uint64, dice int) {
	switch {
	case dice < 70:
		s.get(t, k)
	case dice < 75:
		if v, ok := s.cache.Peek(k); ok && v.key != k {
			t.Errorf("Peek(%d) = %+v", k, v)
		}
	case dice < 80:
		asked := time.Now()
		s.cache.Put(k, version{k, s.revoked[k].Load()}, asked)
	case dice < 90:
		s.revoke(k, func() { s.cache.Revoke(k) })
	case dice < 94:
		s.revoke(k, func() { s.cache.RevokeFunc(func(v version) bool { return v.key == k }) })
	case dice < 95:
		s.revoke(k, s.cache.Clear)
	default:
		if st := s.cache.Stats(); st.Entries > 128 || st.Denied > 16 || st.Loading > 4 || st.Waiting > 8 {
			t.Errorf("beyond a limit: %+v", st)
		}
	}
}

func (s *stress) revoke(k uint64, f func()) {
	n := s.revoked[k].Add(1)
	f()
	for known := s.fenced[k].Load(); n > known && !s.fenced[k].CompareAndSwap(known, n); known = s.fenced[k].Load() {
	}
}

func (s *stress) get(t *testing.T, k uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	before := s.fenced[k].Load()
	v, err := s.cache.Get(ctx, k)
	switch {
	case err == nil && (v.key != k || v.n < before):
		t.Errorf("Get(%d) = %+v after %d revocations", k, v, before)
	case err != nil && !errors.Is(err, errBad) && !errors.Is(err, errAway) && !errors.Is(err, context.DeadlineExceeded) &&
		!errors.Is(err, ttlcache.ErrOverloaded) && !errors.Is(err, ttlcache.ErrRevoked):
		t.Errorf("Get(%d): %v", k, err)
	}
}

// A Clear that has begun before a Revoke, and ends after it, must not lift its fence.
func TestClearDoesNotLiftAFence(t *testing.T) {
	c := ttlcache.New(new(provider).load, settings{TTL: time.Hour})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				c.Clear()
			}
		}
	})
	lifted := 0
	for range 20_000 {
		asked := time.Now()
		c.Revoke("agent")
		if c.Put("agent", "ada", asked) {
			lifted++
		}
	}
	close(done)
	wg.Wait()
	require.Zero(t, lifted)
}
