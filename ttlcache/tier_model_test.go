package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// A ticket is the verdict of the model: which credential, and the how manieth answer.
type ticketOf struct {
	Token  string
	Serial int
}

// An origin is when a verdict was asked for, and by which cache.
type origin struct {
	asked time.Time
	by    int
}

// An ending is a revocation of a token that has reached the tier, or all of one cache.
type ending struct {
	token       string
	began, done time.Time
	by          int
	told        bool // the tier did not return an error
}

// A fleet is three caches over one tier, and what is known to be true about them.
type fleet struct {
	t      *testing.T
	tier   *ttlcachetest.Tier
	links  [3]*ttlcachetest.Link
	caches [3]*ttlcache.Cache[string, ticketOf]
	began  [3]time.Time // of the cache
	cut    [3]bool
	mended [3]time.Time // when the link was last mended

	mu      sync.Mutex // guards the fields below
	slow    time.Duration
	origins []origin
	endings []ending
	faults  []string // what should not have happened
	working sync.WaitGroup
}

const fleetTTL = 30 * time.Second

func newFleet(t *testing.T, broken ttlcachetest.Fault) *fleet {
	f := &fleet{t: t, tier: ttlcachetest.NewTier()}
	f.tier.Break(broken)
	f.tier.Flush() // with FromZero it begins there
	for i := range f.caches {
		f.links[i] = f.tier.Link()
		f.start(i)
	}
	return f
}

func (f *fleet) start(i int) {
	if f.caches[i] != nil {
		f.caches[i].Close()
	}
	f.began[i] = time.Now()
	f.caches[i] = ttlcache.New(func(ctx context.Context, token string) (ticketOf, error) {
		return f.load(i, token), nil
	}, ttlcache.Config[string, ticketOf]{
		TTL: fleetTTL, Tier: f.links[i], Secret: aSecret, MaxLoads: -1,
		Tags: func(v ticketOf) []string { return []string{v.Token} },
	})
}

// load is the provider: its answer is what was true when it was asked.
func (f *fleet) load(i int, token string) ticketOf {
	f.mu.Lock()
	f.origins = append(f.origins, origin{time.Now(), i})
	v, slow := ticketOf{token, len(f.origins) - 1}, f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	return v
}

func (f *fleet) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

func (f *fleet) get(i int, token string) {
	c, began, connected := f.caches[i], time.Now(), f.connected(i)
	f.working.Go(func() {
		v, err := c.Get(context.Background(), token)
		if err != nil {
			if !errors.Is(err, ttlcache.ErrRevoked) {
				f.fault("Get: %v", err)
			}
			return
		}
		f.judge(i, v, token, began, connected)
	})
}

// connected reports whether the link has been whole for long enough to have heard all.
func (f *fleet) connected(i int) bool { return !f.cut[i] && time.Since(f.mended[i]) > time.Second }

// judge is the promise: nothing is served that was revoked more than MaxLag before the
// Get began; by the cache itself, before. What a cache that is cut off has asked for
// itself is as without a tier.
func (f *fleet) judge(i int, v ticketOf, token string, began time.Time, connected bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v.Token != token {
		f.faults = append(f.faults, "another credential's verdict")
	}
	o := f.origins[v.Serial]
	if began.Sub(o.asked) > fleetTTL {
		f.faults = append(f.faults, fmt.Sprintf("%d served %v that was asked for %v ago", i, v, began.Sub(o.asked)))
	}
	for _, e := range f.endings {
		if e.token != token && e.token != "" || !o.asked.Before(e.began) {
			continue
		}
		own := o.by == i && !f.began[i].After(o.asked)
		switch {
		case e.by == i && !began.Before(e.done) && !f.began[i].After(e.began):
		case e.told && began.Sub(e.done) > ttlcache.MaxLag && (!own || connected):
		default:
			continue
		}
		f.faults = append(f.faults, fmt.Sprintf("%d served %v, asked for by %d %v before it was revoked by %d, %v after that",
			i, v, o.by, e.began.Sub(o.asked), e.by, began.Sub(e.done)))
	}
}

func (f *fleet) revoke(i int, token string, how func(*ttlcache.Cache[string, ticketOf]) error) {
	c := f.caches[i]
	f.working.Go(func() {
		e := ending{token: token, began: time.Now(), by: i}
		e.told = how(c) == nil
		e.done = time.Now()
		f.mu.Lock()
		f.endings = append(f.endings, e)
		f.mu.Unlock()
	})
}

// step carries out one instruction of a script.
func (f *fleet) step(op, arg byte) {
	i, token := int(arg)%3, fmt.Sprint("token ", arg/3%4)
	switch op % 16 {
	case 0, 1, 2, 3, 4:
		f.get(i, token)
	case 5:
		for i := range f.caches {
			f.get(i, token)
		}
	case 6:
		f.revoke(i, token, func(c *ttlcache.Cache[string, ticketOf]) error { return c.RevokeContext(f.t.Context(), token) })
	case 7:
		f.revoke(i, token, func(c *ttlcache.Cache[string, ticketOf]) error { return c.RevokeTag(f.t.Context(), token) })
	case 8:
		f.cut[i] = !f.cut[i]
		f.links[i].Cut(f.cut[i])
		f.mended[i] = time.Now()
	case 9:
		f.tier.Flush()
	case 10:
		f.working.Wait()
		f.start(i)
	case 11:
		f.mu.Lock()
		f.slow = time.Duration(arg%4) * 700 * time.Millisecond
		f.mu.Unlock()
	case 12:
		f.tier.Delay(time.Duration(arg%4) * 20 * time.Millisecond)
	case 13:
		time.Sleep(time.Duration(arg) * 10 * time.Millisecond)
	case 14:
		time.Sleep(time.Duration(arg) * 40 * time.Millisecond)
	case 15:
		f.tier.Evict()
	}
	time.Sleep(time.Millisecond) // the order within an instant is unknown
	synctest.Wait()
}

// playFleet returns what should not have happened.
func playFleet(t *testing.T, script []byte, broken ttlcachetest.Fault) []string {
	var faults []string
	bubble(t, func(t *testing.T) {
		f := newFleet(t, broken)
		for n := 0; n+1 < len(script); n += 2 {
			f.step(script[n], script[n+1])
		}
		f.working.Wait()
		for i, c := range f.caches {
			f.links[i].Cut(false)
			c.Close()
		}
		faults = f.faults
		if len(f.origins) == 0 && len(script) > 100 {
			faults = append(faults, "the script asked for nothing")
		}
	})
	return faults
}

func randomScript(seed uint64) []byte {
	rnd := random(seed)
	script := make([]byte, 400)
	for i := range script {
		script[i] = byte(rnd.Uint32())
	}
	return script
}

// episodes is a random script, too, of a few credentials and quick acts while loads are
// slow: what is mistaken about the order of leases, revocations and losses of memory shows
// when these come close together. After each episode every cache, some of them restarted,
// is asked.
func episodes(seed uint64) (script []byte) {
	rnd := random(seed)
	do := func(op byte, arg int) { script = append(script, op, byte(arg)) }
	for range 4 {
		token := 3 * (rnd.IntN(4) / 3)
		do(11, 3*min(1, rnd.IntN(4))) // loads take 2.1 s, mostly
		do(9, 0)
		for range 6 + rnd.IntN(8) {
			i := rnd.IntN(3) + token
			if rare := rnd.IntN(30); rare < 6 {
				do([]byte{7, 8, 10, 12, 13, 15}[rare], i)
				continue
			}
			do([]byte{0, 6, 9}[rnd.IntN(3)], i)
		}
		do(14, 55+rnd.IntN(40)) // 2.2 s and more
		do(11, 0)
		for i := range rnd.IntN(4) {
			do(10, i)
		}
		do(5, token)
	}
	return script
}

func TestReplicasServeNothingRevoked(t *testing.T) {
	for seed := range uint64(60) {
		require.Empty(t, playFleet(t, randomScript(seed), 0), "seed %d", seed)
		require.Empty(t, playFleet(t, episodes(seed), 0), "episodes of seed %d", seed)
	}
}

// A model that finds nothing wrong with a tier that is broken proves nothing. Each fault is
// found within some 200 scripts.
func TestModelOfReplicasFindsFaults(t *testing.T) {
	for name, broken := range map[string]ttlcachetest.Fault{
		"no lease": ttlcachetest.NoLease, "generations from zero": ttlcachetest.FromZero, "no heartbeat": ttlcachetest.FalseBeat,
	} {
		found := false
		for seed := uint64(0); seed < 3000 && !found; seed++ {
			found = len(playFleet(t, episodes(seed), broken)) > 0 || len(playFleet(t, randomScript(seed), broken)) > 0
		}
		require.True(t, found, name)
	}
}

func FuzzReplicas(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomScript(seed)[:100])
		f.Add(episodes(seed)[:100])
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 1000 {
			t.Skip("too long")
		}
		if faults := playFleet(t, script, 0); len(faults) > 0 {
			t.Fatal(faults)
		}
	})
}
