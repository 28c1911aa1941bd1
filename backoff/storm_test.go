package backoff_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// sizes are the fleets of each test: that of the incident and one far beyond. The
// race detector takes a minute for all of the latter, and sees nothing new in them.
func sizes() []int {
	if raceEnabled || testing.Short() {
		return []int{800}
	}
	return []int{800, 10_000}
}

// incident is a fleet that lost a server that does 100 logins a second.
func incident(clients int) fleet {
	return fleet{
		clients: clients, capacity: 100, workers: 20, outage: 20 * time.Second, deadline: 3 * time.Second,
		client: func(_ int, b *backoff.Backoff) {
			// Not slower than the server, or it would wait for its clients.
			b.Policy = backoff.Policy{Min: time.Second, Max: 5 * time.Second, MaxHint: time.Hour}
		},
	}
}

func (f fleet) play(t *testing.T) *outcome {
	t.Helper()
	o := f.run(t)
	t.Logf("t99 %.2f, t100 %.2f of the bound, %.2f attempts once up, %d time-outs, peak %d",
		o.share(f, 0.99), o.share(f, 1), o.each(f), o.timeouts, o.peak())
	require.Len(t, o.back, f.clients)
	return o
}

// A short restart: without a splay the whole fleet is there at once, and with it the
// server does not notice.
func TestFleetSplay(t *testing.T) {
	for _, n := range sizes() {
		for splay, share := range map[time.Duration]float64{0: 1, 10 * time.Second: 30.0 / 800} {
			if splay == 0 && n > 800 {
				continue // a wait for what is known
			}
			t.Run(fmt.Sprint(n, splay), func(t *testing.T) {
				t.Parallel()
				f := incident(n)
				f.capacity, f.outage = float64(n)/8, 300*time.Millisecond
				f.client = func(_ int, b *backoff.Backoff) { b.Splay = splay }
				o := f.play(t)
				require.LessOrEqual(t, float64(o.peak()), share*float64(n))
				require.Equal(t, splay == 0, float64(o.peak()) > 0.3*float64(n), "a third of them within 100ms")
				require.Equal(t, splay == 0, o.timeouts > 0)
			})
		}
	}
}

func TestFleetWindow(t *testing.T) {
	for _, n := range sizes() {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			f := incident(n)
			f.client = func(_ int, b *backoff.Backoff) { b.SetWindow(f.bound()) }
			o := f.play(t)
			require.LessOrEqual(t, o.share(f, 1), 1.10)
			require.Equal(t, n, o.attempts, "one attempt each once the server is up")
			require.Zero(t, o.timeouts)
		})
	}
}

// A window half as long as it should be costs attempts and no time, if the server
// bounds what is under way.
func TestFleetWrongWindow(t *testing.T) {
	f := incident(800)
	f.client = func(_ int, b *backoff.Backoff) { b.SetWindow(f.bound() / 2) }
	f.pacer, f.deaf = &backoff.Pacer{MaxPending: 50}, 1
	o := f.play(t)
	require.LessOrEqual(t, o.share(f, 0.99), 1.10)
	require.LessOrEqual(t, o.each(f), 2.0)
	require.Zero(t, o.timeouts)
}

// inStep is a fleet whose clients all come at the same moments.
func inStep(_ int, b *backoff.Backoff) {
	b.Policy = backoff.Policy{Min: 5 * time.Second, Max: 5 * time.Second, Jitter: -1, MaxHint: time.Hour}
}

func TestFleetPacer(t *testing.T) {
	for name, arm := range map[string]struct {
		pending    int
		guess      float64
		deaf       int
		client     func(int, *backoff.Backoff)
		t99, tries float64
		few        bool // the small fleet will do
	}{
		"zero":       {t99: 1.10, tries: 4},
		"small":      {pending: 50, t99: 1.10, tries: 2.1, few: true},
		"guess high": {pending: 50, guess: 1000, t99: 1.10, tries: 4},
		"guess low":  {pending: 50, guess: 10, t99: 1.30, tries: 4},
		"20 % deaf":  {deaf: 5, t99: 1.30, tries: 4},
		"in step":    {client: inStep, t99: 1.10, tries: 4, few: true},
	} {
		for _, n := range sizes() {
			if arm.few && n > 800 {
				continue
			}
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				t.Parallel()
				f := incident(n)
				f.pacer, f.deaf = &backoff.Pacer{MaxPending: arm.pending, Rate: arm.guess}, arm.deaf
				if arm.client != nil {
					f.client = arm.client
				}
				if arm.deaf > 0 && n > 800 { // each that is turned away and does not listen costs a slot
					f.client = func(_ int, b *backoff.Backoff) {
						b.Policy = backoff.Policy{Min: time.Second, Max: 15 * time.Second, MaxHint: time.Hour}
					}
				}
				o := f.play(t)
				require.LessOrEqual(t, o.share(f, 0.99), arm.t99)
				if n > 800 {
					arm.tries++ // a fleet that needs 100s: slots are not given for all of it at once
				}
				require.LessOrEqual(t, o.each(f), arm.tries)
				require.Zero(t, o.timeouts)
			})
		}
	}
}

// How many a server works on at once, and whether its places are just as many, makes
// little difference.
func TestFleetPacerAnyServer(t *testing.T) {
	for _, server := range []struct {
		workers, pending int
		t99              float64
	}{{1, 0, 1.10}, {1, 25, 1.10}, {20, 20, 1.20}, {20, 40, 1.10}, {100, 0, 1.10}} {
		t.Run(fmt.Sprint(server.workers, "of", server.pending), func(t *testing.T) {
			t.Parallel()
			f := incident(800)
			f.workers, f.pacer = server.workers, &backoff.Pacer{MaxPending: server.pending}
			o := f.play(t)
			require.LessOrEqual(t, o.share(f, 0.99), server.t99)
			require.LessOrEqual(t, o.each(f), 3.0)
			require.Zero(t, o.timeouts)
		})
	}
}

// The server of examples/storm is a queue with a few workers. While clients are on their
// way places are empty, and its workers are as busy as ever.
func TestFleetPacerMeasures(t *testing.T) {
	const seeds = 5
	var rate, tries float64
	for seed := range uint64(seeds) {
		f := incident(800)
		f.capacity, f.workers, f.seed = 60, 6, seed
		f.pacer = &backoff.Pacer{MaxPending: 30, Rate: 60}
		o := f.play(t)
		require.LessOrEqual(t, o.share(f, 0.99), 1.05)
		rate += f.pacer.Stats().Rate / seeds
		tries += o.each(f) / seeds
	}
	t.Logf("%.1f a second, %.2f attempts", rate, tries)
	require.InDelta(t, 60, rate, 4, "67 if time counted in proportion throughout")
	require.LessOrEqual(t, tries, 2.0)
}

// A server that accepts and is killed again must not be hammered.
func TestFleetCrashLoop(t *testing.T) {
	ours := crashLoop(t, (*backoff.Backoff).Up)
	onConnect := crashLoop(t, (*backoff.Backoff).Reset)
	t.Logf("%.2f attempts, %.2f with reset on connect", ours, onConnect)
	require.LessOrEqual(t, ours, onConnect*2/3)
}

// crashLoop is the attempts of each client of a server that lives for 5s and is down for
// 20s, three times over, and then stays.
func crashLoop(t *testing.T, connected func(*backoff.Backoff)) float64 {
	const clients, lives, period, crashes = 800, 5 * time.Second, 25 * time.Second, 3
	var attempts atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		client := func(i int) {
			b := backoff.Backoff{Rand: seeded(i)}
			for b.Next(t.Context()) {
				attempts.Add(1)
				since := time.Since(began)
				if left := lives - since%period; since >= crashes*period {
					return
				} else if left > 0 {
					connected(&b)
					time.Sleep(left)
				}
				b.Fail(errDown)
			}
		}
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() { client(i) })
		}
		all.Wait()
	})
	return float64(attempts.Load()) / clients
}
