package ttlcache_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// An overload is minutes of unique credentials, each of a caller of its own, that come
// at a rate which has nothing to do with how fast they are answered.
type overload struct {
	minutes  int
	slots    int
	load     time.Duration // of a lookup, give or take 30 %
	timeout  float64       // LoadTimeout in loads
	offered  float64       // in capacities
	patience float64       // of a caller, in loads; zero is for ever
	tries    int           // each a load or two after the last one failed
}

func (o overload) String() string {
	return fmt.Sprintf("timeout %g, offered %g, patience %g, tries %d", o.timeout, o.offered, o.patience, o.tries)
}

// capacity is how many lookups end in a minute.
func (o overload) capacity() float64 {
	return float64(o.slots) * float64(time.Minute) / float64(o.load)
}

// lookup is how long the provider takes for the credential of a caller.
func (o overload) lookup(caller int) time.Duration {
	return around(random(uint64(caller)), o.load, 0.3)
}

// play returns the callers answered in each minute, as shares of what was possible: the
// capacity, or what a clairvoyant would have served if that is less.
func (o overload) play(t *testing.T) (goodput []float64) {
	served, possible := make([]atomic.Int64, o.minutes+1), make([]float64, o.minutes)
	bubble(t, func(t *testing.T) {
		timeout := time.Duration(o.timeout * float64(o.load))
		c := ttlcache.New(func(ctx context.Context, caller int) (int, error) {
			return caller, pause(ctx, o.lookup(caller))
		}, ttlcache.Config[int, int]{
			Key: func(h *ttlcache.Hash, caller int) { h.Uint64(uint64(caller)) },
			TTL: ttl, MaxLoads: o.slots, LoadTimeout: timeout,
		})
		began := time.Now()
		minute := func() int { return int(time.Since(began) / time.Minute) }
		arrivals, best := random(0), clairvoyant{timeout, make([]time.Duration, o.slots)}
		var callers sync.WaitGroup
		for i := 0; minute() < o.minutes; i++ {
			if best.serves(time.Since(began), o.lookup(i)) {
				possible[minute()]++
			}
			callers.Go(func() {
				if o.call(t.Context(), c, i) == nil {
					served[minute()].Add(1)
				}
			})
			time.Sleep(time.Duration(arrivals.ExpFloat64() * float64(time.Minute) / o.capacity() / o.offered))
		}
		callers.Wait()
		time.Sleep(2 * o.load) // a load outlives its caller
	})
	for i := range o.minutes {
		goodput = append(goodput, float64(served[i].Load())/min(o.capacity(), possible[i]))
	}
	return goodput
}

func (o overload) call(ctx context.Context, c *ttlcache.Cache[int, int], caller int) (err error) {
	r := random(uint64(caller))
	for try := range max(1, o.tries) {
		if try > 0 {
			time.Sleep(around(r, o.load*3/2, 1./3))
		}
		ctx, cancel := ctx, func() {}
		if o.patience > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(o.patience*float64(o.load)))
		}
		_, err = c.Get(ctx, caller)
		cancel()
		if err == nil {
			break
		}
	}
	return err
}

// A clairvoyant knows how long each lookup will take, and begins none that would not end
// in time.
type clairvoyant struct {
	timeout time.Duration
	free    []time.Duration // when each slot is
}

func (c clairvoyant) serves(arrival, lookup time.Duration) bool {
	slot := slices.Index(c.free, slices.Min(c.free))
	end := max(arrival, c.free[slot]) + lookup
	if end > arrival+c.timeout {
		return false
	}
	c.free[slot] = end
	return true
}

// In every minute of an overload at least 0.85 of what is possible is delivered. All cells,
// ten minutes each, with CONNHYGIENE_OVERLOAD=1: 20 s.
func TestOverloadCostsNoGoodput(t *testing.T) {
	minutes, timeouts, offers := 2, []float64{1.5, 3, 10}, []float64{0.9, 3}
	if raceEnabled {
		minutes, timeouts = 1, timeouts[:2]
	}
	if os.Getenv("CONNHYGIENE_OVERLOAD") != "" {
		minutes, timeouts, offers = 10, []float64{1.5, 2, 3, 4, 6, 10, 30}, []float64{0.9, 1.5, 3, 10}
	}
	for _, callers := range []overload{{}, {patience: 3}, {patience: 3, tries: 3}} {
		for _, timeout := range timeouts {
			for _, offered := range offers {
				o := callers
				o.minutes, o.slots, o.load, o.timeout, o.offered = minutes, 8, time.Second, timeout, offered
				g := o.play(t)
				t.Logf("%v: %.2f", o, g)
				require.GreaterOrEqual(t, slices.Min(g), 0.85, "%v: %.2f", o, g)
			}
		}
	}
}
