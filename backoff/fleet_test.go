package backoff_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// A fleet is clients that lose their only server at the same moment.
type fleet struct {
	clients  int
	capacity float64 // logins a second that the server does
	workers  int     // at once; 0: one
	outage   time.Duration
	deadline time.Duration // of a login; one that its client has left is executed all the same
	client   func(i int, b *backoff.Backoff)
	pacer    *backoff.Pacer // of the server, if it has one
	deaf     int            // every deaf-th client ignores hints; 0: none
	seed     uint64         // of what clients draw
}

// outcome is what became of them. All times are from the moment the server is up.
type outcome struct {
	mu       sync.Mutex // guards the fields below
	back     []time.Duration
	attempts int // since up
	timeouts int
	arrivals map[int64]int // per 100ms since the loss
}

// bound is the time after which all can be back at best.
func (f fleet) bound() time.Duration {
	return time.Duration(float64(f.clients) / f.capacity * float64(time.Second))
}

// share is after how long that share of the clients was back, in bounds.
func (o *outcome) share(f fleet, q float64) float64 {
	slices.Sort(o.back)
	return float64(o.back[int(q*float64(len(o.back)))-1]) / float64(f.bound())
}

func (o *outcome) each(f fleet) float64 { return float64(o.attempts) / float64(f.clients) }

func (o *outcome) peak() int {
	most := 0
	for _, n := range o.arrivals {
		most = max(most, n)
	}
	return most
}

var (
	errDown    = errors.New("connection refused")
	errTimeout = errors.New("no answer")
)

// upstream does logins in the order in which they came.
type upstream struct {
	mu   sync.Mutex
	free []time.Time // when each worker is
	took time.Duration
}

func (u *upstream) finish() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := 0
	for i := range u.free {
		if u.free[i].Before(u.free[first]) {
			first = i
		}
	}
	if now := time.Now(); u.free[first].Before(now) {
		u.free[first] = now
	}
	u.free[first] = u.free[first].Add(u.took)
	return u.free[first]
}

func (f fleet) run(t *testing.T) *outcome {
	o := &outcome{arrivals: map[int64]int{}}
	synctest.Test(t, func(t *testing.T) {
		workers := max(f.workers, 1)
		u := &upstream{free: make([]time.Time, workers), took: time.Duration(float64(workers) / f.capacity * 1e9)}
		lost := time.Now().Add(time.Hour)
		up := lost.Add(f.outage)
		var all sync.WaitGroup
		for i := range f.clients {
			b := &backoff.Backoff{Rand: rand.New(rand.NewPCG(uint64(i), f.seed)).Float64}
			f.client(i, b)
			all.Go(func() { f.agent(t.Context(), i, b, u, lost, up, o) })
		}
		all.Wait()
	})
	return o
}

func (f fleet) agent(ctx context.Context, i int, b *backoff.Backoff, u *upstream, lost, up time.Time, o *outcome) {
	b.Next(ctx)
	b.Up()
	time.Sleep(time.Until(lost))
	b.Fail(errDown)
	for b.Next(ctx) {
		err := f.login(u, lost, up, o)
		if err == nil {
			o.mu.Lock()
			o.back = append(o.back, time.Since(up))
			o.mu.Unlock()
			return
		}
		if f.deaf > 0 && i%f.deaf == 0 {
			err = errDown
		}
		b.Fail(err)
	}
}

func (f fleet) login(u *upstream, lost, up time.Time, o *outcome) error {
	down := time.Now().Before(up)
	o.mu.Lock()
	o.arrivals[time.Since(lost).Milliseconds()/100]++
	if !down {
		o.attempts++
	}
	o.mu.Unlock()
	if down {
		return errDown
	}
	var slot *backoff.Slot
	if f.pacer != nil {
		var err error
		if slot, err = f.pacer.Enter(); err != nil {
			return err
		}
	}
	done := u.finish()
	if f.deadline > 0 && time.Until(done) > f.deadline {
		time.Sleep(f.deadline)
		slot.Cancel()
		o.mu.Lock()
		o.timeouts++
		o.mu.Unlock()
		return errTimeout
	}
	time.Sleep(time.Until(done))
	slot.Done()
	return nil
}
