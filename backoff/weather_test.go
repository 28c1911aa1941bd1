package backoff_test

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// A weather is a fleet that comes back from an outage, and what is wrong meanwhile: a
// discrete-event simulation, one goroutine in a bubble that sleeps until the next
// event. Only the admission is real: it is what the test is about.
type weather struct {
	clients  int
	capacity float64 // logins a second that the provider does when nothing is wrong
	workers  int     // of the provider, at once
	patience time.Duration
	maxDelay time.Duration // of the clients' schedule
	maxHint  time.Duration // of the clients
	phases   []phase       // from the moment the servers are up; the pace is 1 outside of them
	drops    bool          // a login whose client has left is not executed
	floods   []flood
	deafEach int // every so many-th client ignores hints; 0: none
	servers  int
	balancer balancer
	limit    time.Duration // when the simulation ends
	seed     uint64
}

// phase is a time in which the provider has another pace, in multiples of its capacity.
type phase struct {
	from, to time.Duration
	pace     func(since time.Duration) float64
}

func slow(from, lasts time.Duration, times float64) phase {
	return phase{from, from + lasts, func(time.Duration) float64 { return 1 / times }}
}

func pause(from, lasts time.Duration) phase { return slow(from, lasts, math.Inf(1)) }

// flood is strangers who come so many times a second and obey nothing.
type flood struct {
	from, to time.Duration
	rate     float64
}

type balancer string

const (
	roundRobin balancer = "rr"
	dns        balancer = "dns"
	leastConns balancer = "lc"
)

// admission is what the laws have in common: the real Pacer, and those it is compared with.
type admission interface {
	enter() (end func(done bool), hint time.Duration)
}

type realPacer struct{ *backoff.Pacer }

func (p realPacer) enter() (func(bool), time.Duration) {
	slot, err := p.Enter()
	if hint, busy := backoff.Hint(err); busy {
		return nil, hint
	}
	return func(done bool) {
		if done {
			slot.Done()
		}
		slot.Cancel()
	}, 0
}

// forecast is what became of a fleet.
type forecast struct {
	back       []time.Duration // since up, sorted
	attempts   int             // since up, of the fleet
	timeouts   int
	longest    time.Duration // hint
	t99, bound time.Duration // bound: of a gate that loses nothing
	each, over float64       // attempts of each client; t99 in bounds
	complete   bool
}

// event is something that happens to a client, or to the login of one.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// sim is a weather that is being played.
type sim struct {
	weather
	rand     *rand.Rand
	queue    events
	seq      int
	now      time.Duration
	doors    []admission
	conns    []int // of each door
	turn     int
	free     []time.Duration // when each worker of the provider is
	forecast forecast
	left     int
}

// play plays w with a door of that kind for each server.
func (w weather) play(t *testing.T, door func() admission) forecast {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine: the race detector takes minutes and sees nothing")
	}
	var f forecast
	synctest.Test(t, func(*testing.T) { f = w.run(door) })
	return f
}

func (w weather) run(door func() admission) forecast {
	w.servers, w.workers = max(w.servers, 1), max(w.workers, 1)
	if w.limit == 0 {
		w.limit = 20*w.bound(1) + 20*time.Minute
	}
	s := &sim{weather: w, rand: rand.New(rand.NewPCG(w.seed, 1)), left: w.clients}
	for range w.workers {
		s.free = append(s.free, -time.Hour)
	}
	s.conns = make([]int, w.servers)
	for range w.servers {
		s.doors = append(s.doors, door())
	}
	for i := range w.clients { // all are at their longest delay when the servers are up
		s.at(time.Duration(s.rand.Float64()*float64(w.maxDelay)/2*1.5), func() { s.attempt(i, 5) })
	}
	for _, f := range w.floods {
		s.at(f.from, func() { s.flood(f) })
	}
	began := time.Now()
	for len(s.queue) > 0 && s.left > 0 {
		e := heap.Pop(&s.queue).(event)
		if e.at > w.limit {
			break
		}
		time.Sleep(time.Until(began.Add(time.Hour + e.at)))
		s.now = e.at
		e.do()
	}
	return s.result()
}

func (s *sim) result() forecast {
	f := s.forecast
	slices.Sort(f.back)
	f.bound, f.each = s.bound(0.99), float64(f.attempts)/float64(s.clients)
	f.over = math.Inf(1)
	if k := int(0.99 * float64(s.clients)); len(f.back) >= k {
		f.t99 = f.back[k-1]
		f.over = float64(f.t99) / float64(f.bound)
	}
	f.complete = len(f.back) == s.clients
	return f
}

func (s *sim) at(when time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, event{when, s.seq, do})
}

// attempt is one of a client, after so many failures in a row.
func (s *sim) attempt(client, failures int) {
	s.forecast.attempts++
	door := s.door()
	end, hint := s.doors[door].enter()
	if end == nil {
		s.forecast.longest = max(s.forecast.longest, hint)
		if s.deafEach > 0 && client%s.deafEach == 0 {
			hint = 0
		}
		s.again(client, failures+1, hint)
		return
	}
	s.conns[door]++
	s.login(func(done bool) {
		end(done)
		if done {
			s.forecast.back = append(s.forecast.back, s.now)
			s.left--
			return
		}
		s.conns[door]--
		s.forecast.timeouts++
		s.again(client, failures+1, 0)
	})
}

// again is the next attempt, as Backoff does it.
func (s *sim) again(client, failures int, hint time.Duration) {
	d := min(time.Second<<min(failures-1, 20), s.maxDelay)
	d -= time.Duration(s.rand.Float64() * float64(d) / 2)
	if hint > 0 {
		d = min(hint, s.maxHint) + time.Duration(s.rand.Float64()*float64(min(hint, time.Second)))
	}
	s.at(s.now+d, func() { s.attempt(client, failures) })
}

// login is work of the provider, in the order in which it comes.
func (s *sim) login(end func(done bool)) {
	first := 0
	for i := range s.free {
		if s.free[i] < s.free[first] {
			first = i
		}
	}
	start := max(s.free[first], s.now)
	leaves := s.now + s.patience
	if s.drops && start >= leaves {
		s.at(leaves, func() { end(false) })
		return
	}
	mean := float64(s.workers) / s.capacity * float64(time.Second)
	done := s.finish(start, time.Duration(mean*(0.5+s.rand.Float64())))
	s.free[first] = done
	if done > leaves {
		s.at(leaves, func() { end(false) })
		return
	}
	s.at(done, func() { end(true) })
}

// finish is when work that begins at start is done.
func (w weather) finish(start, work time.Duration) time.Duration {
	const step = 10 * time.Millisecond
	left := float64(work)
	for at := start; ; {
		p := w.paceAt(at)
		if p == nil {
			next := w.nextPhase(at)
			if room := float64(next - at); next < 0 || left <= room {
				return at + time.Duration(left)
			}
			left -= float64(next - at)
			at = next
			continue
		}
		pace, end := p.pace(at-p.from), min(at+step, p.to)
		if room := float64(end-at) * pace; left > room {
			left -= room
			at = end
			continue
		}
		return at + time.Duration(left/pace)
	}
}

func (w weather) paceAt(at time.Duration) *phase {
	for i := range w.phases {
		if p := &w.phases[i]; at >= p.from && at < p.to {
			return p
		}
	}
	return nil
}

func (w weather) nextPhase(at time.Duration) time.Duration {
	next := time.Duration(-1)
	for _, p := range w.phases {
		if p.from > at && (next < 0 || p.from < next) {
			next = p.from
		}
	}
	return next
}

// bound is when that share of the clients can be back at best.
func (w weather) bound(share float64) time.Duration {
	return w.finish(0, time.Duration(share*float64(w.clients)/w.capacity*float64(time.Second)))
}

// flood is one stranger, and the next one.
func (s *sim) flood(f flood) {
	if end, _ := s.doors[s.door()].enter(); end != nil {
		s.login(end)
	}
	if next := s.now + time.Duration(float64(time.Second)/f.rate); next < f.to {
		s.at(next, func() { s.flood(f) })
	}
}

func (s *sim) door() int {
	switch s.balancer {
	case dns:
		return s.rand.IntN(s.servers)
	case leastConns:
		least := s.rand.IntN(s.servers) // of equals, any
		for i, n := range s.conns {
			if n < s.conns[least] {
				least = i
			}
		}
		return least
	}
	s.turn++
	return s.turn % s.servers
}
