package bench_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// quiet is how long nothing has to happen until nothing more is expected. A peer
// that needs longer comes out better than it is.
const quiet = 250 * time.Millisecond

// upstream is an identity provider that answers when it is told to, and counts.
type upstream struct {
	arrived chan struct{} // a value for each load
	answer  chan struct{} // closed when loads may end
	loads   atomic.Int64
	now     atomic.Int64
	peak    atomic.Int64
}

func newUpstream() *upstream {
	return &upstream{arrived: make(chan struct{}, 10_000), answer: make(chan struct{})}
}

func (u *upstream) load(_ context.Context, token string) (string, error) {
	u.loads.Add(1)
	now := u.now.Add(1)
	defer u.now.Add(-1)
	for {
		peak := u.peak.Load()
		if now <= peak || u.peak.CompareAndSwap(peak, now) {
			break
		}
	}
	u.arrived <- struct{}{}
	<-u.answer
	return token, nil
}

// settle returns when no load has begun for a while, or when want have.
func (u *upstream) settle(want int) {
	for range want {
		select {
		case <-u.arrived:
		case <-time.After(quiet):
			return
		}
	}
}

// storm asks for the keys, all at once, and returns the upstream's figures.
func storm(t *testing.T, c cache, keys []string) (peak, loads int64, failed int) {
	t.Helper()
	u := newUpstream()
	s := c.new(10_000, u.load)
	defer s.close()
	var errs atomic.Int64
	var callers sync.WaitGroup
	for _, key := range keys {
		callers.Go(func() {
			if _, err := s.fetch(t.Context(), key); err != nil {
				errs.Add(1)
			}
		})
	}
	u.settle(len(keys))
	close(u.answer)
	callers.Wait()
	return u.peak.Load(), u.loads.Load(), int(errs.Load())
}

// bounded is ours with the bound of incident A.
var bounded = cache{"ours", func(n int, load loadFunc) store { return ourStore(n, load, 20) }}

// What a fleet that comes back at once does to the upstream: each credential is
// another, so joining loads does not help. MaxLoads is 20.
func TestUniqueKeyStorm(t *testing.T) {
	same := make([]string, 100)
	for i := range same {
		same[i] = "agent"
	}
	unique := tokens(800)
	tab := newTable("storm", "", "loads at once, of 800 keys", "failed of 800", "loads for 100 callers of one key", "goroutines of an idle cache")
	for i, c := range caches {
		if i == 0 {
			c = bounded
		}
		peak, _, failed := storm(t, c, unique)
		_, loads, _ := storm(t, c, same)
		idle := max(idleGoroutines(c), 0)
		tab.add(c.name, peak, failed, loads, idle)
		if c.name == "ours" {
			require.EqualValues(t, 20, peak)
			require.Zero(t, failed)
			require.EqualValues(t, 1, loads)
			require.Zero(t, idle)
		}
	}
	tab.show(t)
}

// idleGoroutines returns how many goroutines a cache has that holds an entry and
// does nothing. Those that end by themselves get time for it.
func idleGoroutines(c cache) int {
	settled := func() int {
		count := runtime.NumGoroutine()
		for range 20 {
			<-time.After(5 * time.Millisecond)
			count = min(count, runtime.NumGoroutine())
		}
		return count
	}
	before := settled()
	s := c.new(1000, echo)
	s.set("agent", "user")
	count := settled() - before
	s.close()
	return count
}

// How a call ends. What stands in a table is about who had joined a load.
const (
	verdict  = "verdict"
	failed   = "error"
	empty    = "EMPTY VERDICT, NO ERROR"
	panicked = "panics"
	exited   = "its goroutine ends"
	hung     = "waits for ever"
)

// ending returns how f ends for its caller. A caller that only its own context can
// free has been left waiting for ever.
func ending(f func(ctx context.Context) (string, error)) string {
	how := make(chan string, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 12*quiet)
		defer cancel()
		result := exited
		defer func() { how <- result }()
		defer func() {
			if recover() != nil {
				result = panicked
			}
		}()
		v, err := f(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			result = hung
		case err != nil:
			result = failed
		case v == "":
			result = empty
		default:
			result = verdict
		}
	}()
	select {
	case result := <-how:
		return result
	case <-time.After(24 * quiet):
		return hung
	}
}

// accident has one caller ask, another one join, and then lets the load end badly.
func accident(c cache, end func()) (leader, follower string) {
	began := make(chan struct{}, 10)
	last := make(chan struct{})
	s := c.new(1000, func(context.Context, string) (string, error) {
		began <- struct{}{}
		<-last
		end()
		return "user", nil
	})
	defer s.close()
	var callers sync.WaitGroup
	ask := func(ctx context.Context) (string, error) { return s.fetch(ctx, "agent") }
	callers.Go(func() { leader = ending(ask) })
	<-began
	callers.Go(func() { follower = ending(ask) })
	select {
	case <-began: // a load of its own: it has not joined
	case <-time.After(quiet / 5):
	}
	close(last)
	callers.Wait()
	return leader, follower
}

// What is left of the callers when a load panics, or ends its goroutine as a test's
// FailNow does.
func TestAccidents(t *testing.T) {
	tab := newTable("accidents", "", "panic: first caller", "panic: joined caller", "Goexit: first caller", "Goexit: joined caller", "joined caller, when the first has left")
	for _, c := range caches {
		leader, follower := accident(c, func() { panic("bug") })
		leader2, follower2 := accident(c, runtime.Goexit)
		left := leaderLeaves(c)
		tab.add(c.name, leader, follower, leader2, follower2, left)
		if c.name == "ours" {
			require.Equal(t, []string{failed, failed, failed, failed, verdict}, []string{leader, follower, leader2, follower2, left})
		}
	}
	tab.show(t)
}

// leaderLeaves returns what a caller gets who has joined the load of one whose
// request is canceled, by an upstream that obeys its context.
func leaderLeaves(c cache) string {
	began := make(chan struct{}, 10)
	answer := make(chan struct{})
	s := c.new(1000, func(ctx context.Context, _ string) (string, error) {
		began <- struct{}{}
		select {
		case <-answer:
			return "user", nil
		case <-ctx.Done():
			return "", fmt.Errorf("asking: %w", context.Canceled)
		}
	})
	defer s.close()
	leaderCtx, leave := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	var result string
	callers.Go(func() { _, _ = s.fetch(leaderCtx, "agent") })
	<-began
	callers.Go(func() {
		result = ending(func(ctx context.Context) (string, error) { return s.fetch(ctx, "agent") })
	})
	time.AfterFunc(quiet/5, leave)
	time.AfterFunc(quiet, func() { close(answer) })
	callers.Wait()
	return result
}

// How often a good credential, one of 5000 in turn, is still known while bad ones
// pour in, of which each is another. All that a cache may hold is 10,000 entries.
func TestFlood(t *testing.T) {
	shares := []int{1, 10}
	header := []any{"", "1 bad per good", "10 bad per good"}
	if full() {
		shares, header = append(shares, 100), append(header, "100 bad per good")
	}
	good := tokens(5000)
	tab := newTable("flood", header...)
	for _, c := range caches {
		if c.name == "kubernetes" {
			continue // without a bound: memory is what it loses
		}
		row := []any{c.name}
		for _, bad := range shares {
			known := flood(t, c, good, bad)
			row = append(row, fmt.Sprintf("%.1f %%", known))
			if c.name == "ours" {
				require.EqualValues(t, 100, known)
			}
		}
		tab.add(row...)
	}
	tab.show(t)
}

// flood returns the share of requests with good credentials that did not have to ask
// the upstream again, in percent.
func flood(t *testing.T, c cache, good []string, bad int) float64 {
	t.Helper()
	known := make(map[string]bool, len(good))
	for _, token := range good {
		known[token] = true
	}
	var loads atomic.Int64
	s := c.new(10_000, func(_ context.Context, token string) (string, error) {
		if !known[token] {
			return "", errDenied
		}
		loads.Add(1)
		return "user", nil
	})
	defer s.close()
	for _, token := range good {
		_, err := s.fetch(t.Context(), token)
		require.NoError(t, err)
	}
	loads.Store(0)
	const rounds = 2
	strangers := 0
	for i := range rounds * len(good) {
		_, err := s.fetch(t.Context(), good[i%len(good)])
		require.NoError(t, err)
		for range bad {
			strangers++
			_, _ = s.fetch(t.Context(), fmt.Sprintf("%064d", strangers))
		}
	}
	return 100 - 100*float64(loads.Load())/float64(rounds*len(good))
}
