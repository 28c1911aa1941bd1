package main

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// A watch sees what the agents see.
type watch struct {
	mu       sync.Mutex // guards the fields below
	since    time.Time
	agents   []seen
	up_      int
	attempts int
	failed   int             // attempts that gave no stream
	moves    int             // streams that followed a lost one
	offline  []time.Duration // of each move
	curve    []int           // agents with a stream in each tenth of a second
}

// seen is what is known about one agent.
type seen struct {
	up      bool
	lost    time.Time // when it lost its stream; zero before the first
	replica string
}

func newWatch(agents int) *watch { return &watch{agents: make([]seen, agents), since: time.Now()} }

func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.attempts, w.failed, w.moves, w.offline, w.curve = time.Now(), 0, 0, 0, nil, nil
}

func (w *watch) attempt(int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts++
}

func (w *watch) up(i int, replica string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drawLocked()
	a := &w.agents[i]
	if !a.lost.IsZero() {
		w.moves++
		w.offline = append(w.offline, time.Since(a.lost))
	}
	a.up, a.replica = true, replica
	w.up_++
	w.drawLocked()
}

// down is the end of an attempt, with a stream or without one.
func (w *watch) down(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &w.agents[i]
	if !a.up {
		if !errors.Is(err, errMoved) {
			w.failed++
		}
		return
	}
	w.drawLocked()
	a.up, a.lost = false, time.Now()
	w.up_--
	w.drawLocked()
}

// drawLocked continues the curve up to now.
func (w *watch) drawLocked() {
	n := int(time.Since(w.since) / tenth)
	for len(w.curve) <= n {
		w.curve = append(w.curve, w.up_)
	}
	w.curve[n] = min(w.curve[n], w.up_)
}

func (w *watch) online() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up_
}

// A result is what an arm has come to.
type result struct {
	Arm       string  `json:"arm"`
	Back      int     `json:"back"`     // agents with a stream in the end
	Moves     int     `json:"moves"`    // streams that followed a lost one
	Attempts  float64 `json:"attempts"` // for each move
	Failed    int     `json:"failed"`   // attempts that gave no stream
	Lookups   float64 `json:"lookups"`  // at the provider, for each move
	Peak      float64 `json:"peak"`     // most lookups in 100 ms, as a multiple of the capacity
	Offline   float64 `json:"offline_median_s"`
	Worst     float64 `json:"offline_worst_s"`
	Took      float64 `json:"took_s"`
	PerServer []int   `json:"per_replica"` // agents in the end
	Curve     []int   `json:"curve"`       // agents with a stream, in steps of 100 ms
	Bound     float64 `json:"bound_s"`     // the agents by the capacity
	_         struct{}
}

func (s *stage) result() result {
	lookups, peak := s.idp.counts()
	w := s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drawLocked()
	moves := float64(max(1, w.moves))
	r := result{
		Arm: s.arm.Name, Back: w.up_, Moves: w.moves, Attempts: float64(w.attempts) / moves, Failed: w.failed,
		Lookups: float64(lookups) / moves, Peak: float64(peak) / (s.options.capacity * tenth.Seconds()),
		Took: time.Since(w.since).Seconds(), Curve: slices.Clone(w.curve),
		Bound: float64(s.options.agents) / s.options.capacity, PerServer: make([]int, replicas),
	}
	for _, a := range w.agents {
		if i := slices.Index(s.public, a.replica); a.up && i >= 0 {
			r.PerServer[i]++
		}
	}
	slices.Sort(w.offline)
	if n := len(w.offline); n > 0 {
		r.Offline, r.Worst = w.offline[n/2].Seconds(), w.offline[n-1].Seconds()
	}
	return r
}
