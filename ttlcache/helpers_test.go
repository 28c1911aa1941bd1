package ttlcache_test

import (
	"container/list"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

var (
	errBad  = errors.New("bad token")
	errAway = errors.New("provider is away")
)

func isBad(err error) bool { return errors.Is(err, errBad) }

// A provider is an authenticator that tests are in control of.
type provider struct {
	took time.Duration // of a lookup; one that is cut short fails

	mu       sync.Mutex // guards the fields below
	verdicts map[string]error
	asked    map[string]int

	now, peak atomic.Int64 // lookups at once
}

// load says "user of TOKEN", or what say said.
func (p *provider) load(ctx context.Context, token string) (string, error) {
	n := p.now.Add(1)
	defer p.now.Add(-1)
	for most := p.peak.Load(); n > most && !p.peak.CompareAndSwap(most, n); most = p.peak.Load() {
	}
	p.mu.Lock()
	if p.asked == nil {
		p.asked = make(map[string]int)
	}
	p.asked[token]++
	p.mu.Unlock()
	if p.took > 0 {
		select {
		case <-time.After(p.took):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.verdicts[token]; err != nil {
		return "", err
	}
	return "user of " + token, nil
}

// say makes err the answer about token, from now on.
func (p *provider) say(token string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verdicts == nil {
		p.verdicts = make(map[string]error)
	}
	p.verdicts[token] = err
}

func (p *provider) asks(token string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[token]
}

// settings are those of most tests.
type settings = ttlcache.Config[string, string]

// bubble is synctest.Test. A test ends when all goroutines in it have.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// A call is a Get in the background.
type call struct {
	done chan struct{}
	v    string
	err  error
	took time.Duration
}

func get(ctx context.Context, c *ttlcache.Cache[string, string], token string) *call {
	g := &call{done: make(chan struct{})}
	go func() {
		defer close(g.done)
		began := time.Now()
		g.v, g.err = c.Get(ctx, token)
		g.took = time.Since(began)
	}()
	return g
}

func (g *call) wait() (string, error) {
	<-g.done
	return g.v, g.err
}

// settled reports whether the Get has returned. Call it after synctest.Wait.
func (g *call) settled() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// zipf returns a source of numbers below n, of which small ones are frequent.
func zipf(n int, s float64) func() uint64 {
	return rand.NewZipf(random(1), s, 1, uint64(n-1)).Uint64
}

// An lru is the simplest cache to compare with.
type lru struct {
	room, hits int
	order      list.List
	places     map[int]*list.Element
}

func newLRU(room int) *lru { return &lru{room: room, places: make(map[int]*list.Element)} }

func (l *lru) get(i int) {
	if e := l.places[i]; e != nil {
		l.hits++
		l.order.MoveToFront(e)
		return
	}
	if l.order.Len() == l.room {
		delete(l.places, l.order.Remove(l.order.Back()).(int))
	}
	l.places[i] = l.order.PushFront(i)
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// around returns d, give or take up to that share.
func around(r *rand.Rand, d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*r.Float64()-1)))
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// aMinute passes, of the synctest bubble.
func aMinute() { time.Sleep(time.Minute) }
