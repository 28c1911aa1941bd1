package redistier_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// A watch is a Follow in the background.
type watch struct {
	t     *testing.T
	news  chan ttlcache.Revocation
	ended chan error
	stop  context.CancelFunc
}

func follow(t *testing.T, tier ttlcache.Tier) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{t, make(chan ttlcache.Revocation, 100000), make(chan error, 1), cancel}
	go func() { w.ended <- tier.Follow(ctx, func(r ttlcache.Revocation, _ uint64) { w.news <- r }) }()
	t.Cleanup(func() {
		cancel()
		if w.ended != nil {
			<-w.ended
		}
	})
	return w
}

// until reads until match, for at most 20 seconds.
func (w *watch) until(match func(ttlcache.Revocation) bool) {
	w.t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case r := <-w.news:
			if match(r) {
				return
			}
		case <-late:
			require.Fail(w.t, "not told in 20 s")
		}
	}
}

func beat(r ttlcache.Revocation) bool { return !r.All && len(r.Keys)+len(r.Tags) == 0 }
func all(r ttlcache.Revocation) bool  { return r.All }

func TestFollowEndsWithTheTier(t *testing.T) {
	tier := redis(t).tier(t, redistier.Config{})
	w := follow(t, tier)
	w.until(beat)
	tier.Close()
	require.NoError(t, <-w.ended)
	w.ended = nil
}

// Close leaves no goroutine and no connection, whatever is under way.
func TestCloseLeavesNothing(t *testing.T) {
	s := redis(t)
	before := goleak.IgnoreCurrent()
	tier, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{s.address}}})
	require.NoError(t, err)
	var all sync.WaitGroup
	beats := make(chan struct{}, 1)
	all.Go(func() {
		_ = tier.Follow(context.Background(), func(ttlcache.Revocation, uint64) {
			select {
			case beats <- struct{}{}:
			default:
			}
		})
	})
	all.Go(func() { _ = tier.Replicas(context.Background(), func(int) {}) })
	for i := range 20 {
		all.Go(func() {
			for {
				if _, _, _, err := tier.Get(context.Background(), [32]byte{byte(i)}); errors.Is(err, net.ErrClosed) {
					return
				}
			}
		})
	}
	<-beats
	<-beats
	tier.Close()
	all.Wait()
	goleak.VerifyNone(t, before)
	clients, err := s.do(t, "CLIENT", "LIST").ToString()
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(clients, "id="), "that of this very question")
}

// A connection that is being made when the tier is closed is closed, too.
func TestCloseWhileConnecting(t *testing.T) {
	s := redis(t)
	road := newPath(t, s.address)
	road.delay.Store(int64(20 * time.Millisecond))
	before := goleak.IgnoreCurrent()
	for range 5 {
		tier, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{road.l.Addr().String()}}})
		require.NoError(t, err)
		_, _, _, err = tier.Get(t.Context(), key)
		require.NoError(t, err)
		var all sync.WaitGroup
		for range 20 { // the client makes a few more connections for these
			all.Go(func() { _, _, _, _ = tier.Get(context.Background(), key) })
		}
		<-time.After(10 * time.Millisecond)
		tier.Close()
		all.Wait()
	}
	require.Eventually(t, func() bool {
		clients, err := s.do(t, "CLIENT", "LIST").ToString()
		return err == nil && strings.Count(clients, "id=") == 1 // that of this very question
	}, 10*time.Second, 10*time.Millisecond)
	road.conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
	goleak.VerifyNone(t, before)
}

// Connections are cut all the time, and nothing is lost.
func TestFollowMissesNothing(t *testing.T) {
	s := redis(t)
	reader, writer := s.tier(t, redistier.Config{}), s.tier(t, redistier.Config{Prefix: ""})
	w := follow(t, reader)
	w.until(beat)
	const n = 300
	for i := range n {
		require.Eventually(t, func() bool {
			return writer.Revoke(t.Context(), ttlcache.Revocation{Keys: [][32]byte{{byte(i), byte(i >> 8)}}}) == nil
		}, 20*time.Second, time.Millisecond)
		if i%30 == 0 {
			require.NoError(t, s.do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Error())
		}
	}
	seen := make(map[[32]byte]bool)
	w.until(func(r ttlcache.Revocation) bool {
		require.False(t, r.All, "nothing was missing")
		for _, k := range r.Keys {
			seen[k] = true
		}
		return len(seen) == n
	})
}

func TestFollowTellsOfLostMemory(t *testing.T) {
	s := redis(t)
	w := follow(t, s.tier(t, redistier.Config{}))
	w.until(beat)
	for _, loss := range [][]string{{"FLUSHALL"}, {"DEL", "{ttlcache}:log"}, {"DEL", "{ttlcache}:era"}} {
		require.NoError(t, s.do(t, loss...).Error())
		w.until(all)
		w.until(beat)
	}
	s.kill()
	s.start(t)
	w.until(all)
	w.until(beat)
}

// A server that comes back with what it had may have lost the last revocations of it.
func TestRestartRevokesEverything(t *testing.T) {
	s := redis(t, "--appendonly", "yes", "--appendfsync", "always")
	tier := s.tier(t, redistier.Config{})
	w := follow(t, tier)
	w.until(beat)
	put(t, tier, "x")
	s.kill()
	s.start(t)
	w.until(all)
	w.until(beat)
	require.Eventually(t, func() bool { // its connection is another one
		_, _, _, err := tier.Get(t.Context(), key)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	text, _ := kept(t, tier)
	require.Empty(t, text)
}

// A follower that was away for longer than the log is kept has missed something.
func TestFollowTellsOfAGap(t *testing.T) {
	s := redis(t)
	w := follow(t, s.tier(t, redistier.Config{Keep: 600 * time.Millisecond}))
	w.until(all)
	w.until(beat)
	s.freeze(t)
	<-time.After(1200 * time.Millisecond)
	s.thaw(t)
	w.until(all)
}

// A flood of revocations costs no memory without end, and a follower that starts later
// knows from where on it has heard of all.
func TestLogIsBounded(t *testing.T) {
	s := redis(t)
	tier := s.tier(t, redistier.Config{})
	tier.SetMaxLog(20)
	for i := range 50 {
		require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{Keys: [][32]byte{{byte(i)}}}))
	}
	_, lease := kept(t, tier)
	n, err := s.do(t, "XLEN", "{ttlcache}:log").AsInt64()
	require.NoError(t, err)
	require.LessOrEqual(t, n, int64(20))
	first := make(chan uint64, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = tier.Follow(ctx, func(r ttlcache.Revocation, at uint64) {
		if r.All {
			first <- at
		}
		if beat(r) {
			cancel()
		}
	})
	require.Error(t, err)
	at := <-first
	require.Less(t, at, lease)
	require.Greater(t, at, lease-uint64(time.Minute.Microseconds()*2))
	id, err := s.do(t, "XRANGE", "{ttlcache}:log", "-", "+", "COUNT", "1").AsXRange()
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d-0", at), id[0].ID)
}

func TestNoHeartbeatWithoutRedis(t *testing.T) {
	s := redis(t)
	w := follow(t, s.tier(t, redistier.Config{}))
	w.until(beat)
	s.freeze(t)
	<-time.After(300 * time.Millisecond)
	for len(w.news) > 0 {
		<-w.news
	}
	<-time.After(1500 * time.Millisecond)
	require.Empty(t, w.news, "a heartbeat from a server that stands still")
	s.thaw(t)
	w.until(beat)
}

func TestFollowBeginsWithTheLog(t *testing.T) {
	tier := redis(t).tier(t, redistier.Config{})
	require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{Tags: [][32]byte{{3}}}))
	w := follow(t, tier)
	w.until(func(r ttlcache.Revocation) bool { return len(r.Tags) == 1 && r.Tags[0] == [32]byte{3} })
}

// Replicas that join and leave, and one that dies.
func TestReplicas(t *testing.T) {
	s := redis(t)
	counts := make(chan int, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	first, second := s.tier(t, redistier.Config{}), s.tier(t, redistier.Config{})
	go func() { ended <- first.Replicas(ctx, func(n int) { counts <- n }) }()
	require.Equal(t, 1, <-counts)
	other, leave := context.WithCancel(t.Context())
	go func() { ended <- second.Replicas(other, func(int) {}) }()
	require.Equal(t, 2, <-counts, "it rises at once")
	require.NoError(t, s.do(t, "FLUSHALL").Error())
	leave()
	require.ErrorIs(t, <-ended, context.Canceled)
	n, err := s.do(t, "ZCARD", "{ttlcache}:replicas").AsInt64()
	require.NoError(t, err)
	require.LessOrEqual(t, n, int64(1), "who leaves says so")
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Empty(t, counts, "it falls late")
	first.Close()
	require.ErrorIs(t, first.Replicas(t.Context(), func(int) {}), net.ErrClosed)
}

func TestReplicasFallSlowly(t *testing.T) {
	next, now := redistier.Falling(), time.Unix(0, 0)
	step := func(n, want int, changes bool) {
		t.Helper()
		got, changed := next(n, now)
		require.Equal(t, want, got)
		require.Equal(t, changes, changed)
		now = now.Add(time.Second)
	}
	step(3, 3, true)
	for range 5 {
		step(2, 3, false)
	}
	step(3, 3, false)
	for i := range 10 {
		step(1+i%2, 3, false)
	}
	step(1, 2, true)
	step(4, 4, true)
	step(0, 4, false)
}
