package storm

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Result is what one arm did. Times are multiples of [Config.Bound], counted
// from the moment the server was up again (its gate was opened).
type Result struct {
	// Arm is the name of the arm.
	Arm string `json:"arm"`

	// Back is how many agents had their stream again at the end.
	Back int `json:"back"`

	T50  *float64 `json:"t50"`  // T50 is when half of the agents were back, those that still are at the end; nil if they never were.
	T99  *float64 `json:"t99"`  // T99 is the same of 99 % of them.
	T100 *float64 `json:"t100"` // T100 is the same of all.

	Attempts   float64 `json:"attempts"`    // Attempts is how many an agent made since the server died.
	AttemptsUp float64 `json:"attempts_up"` // AttemptsUp is how many of them it began since the server was up.
	ArrivalsUp float64 `json:"arrivals_up"` // ArrivalsUp is how many of them reached the handler since then.

	// Timeouts is how often, for each agent, the auth step gave up waiting for
	// its lookup.
	Timeouts float64 `json:"timeouts"`

	// Wasted is how many lookups, for each agent, were executed beyond the one
	// that let it in.
	Wasted float64 `json:"wasted"`

	// Peak is the largest number of attempts within 100ms, as a multiple of
	// what the upstream can do in that time.
	Peak float64 `json:"peak"`

	DBOpened  int64 `json:"db_opened"`  // DBOpened is how many connections the database opened since the arm began.
	DBRefused int64 `json:"db_refused"` // DBRefused is how many it refused as too many.

	// Goodput is how many agents got back a second, as a share of the capacity,
	// until the last was back or the arm ended.
	Goodput float64 `json:"goodput"`

	// Figures are what the packages in the server that came back have counted,
	// and the upstream's pool, a line each, for people.
	Figures []string `json:"-"`

	// Timeline is what happened in each [BinWidth] since the server died.
	Timeline []Bin `json:"-"`

	// Interrupted says that the arm was ended before its time.
	Interrupted bool `json:"interrupted,omitempty"`
}

func (r *run) result(interrupted bool) Result {
	m := r.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	res := Result{
		Arm:         r.arm.name,
		Back:        len(m.back),
		Attempts:    r.each(m.attempts),
		AttemptsUp:  r.each(m.attemptsUp),
		ArrivalsUp:  r.each(m.arrivals),
		Timeouts:    r.each(m.timeouts),
		Wasted:      r.each(max(0, int(r.upstream.done.Load())-m.logins)),
		DBOpened:    r.upstream.dials.opened.Load(),
		DBRefused:   r.upstream.dials.refused.Load(),
		Timeline:    slices.Clone(m.bins),
		Interrupted: interrupted,
	}
	if r.server != nil {
		res.Figures = append(r.server.figures(), r.upstream.String())
	}
	for _, bin := range m.bins {
		res.Peak = max(res.Peak, float64(bin.Attempts)/(r.config.Capacity*BinWidth.Seconds()))
	}
	r.addTimesLocked(&res)
	return res
}

// each is a count for each agent.
func (r *run) each(count int) float64 { return float64(count) / float64(r.config.Agents) }

// addTimesLocked fills in what depends on when agents were back. The meter is locked.
func (r *run) addTimesLocked(res *Result) {
	m := r.meter
	if m.up.IsZero() {
		return
	}
	back := slices.Sorted(maps.Values(m.back))
	res.T50, res.T99, res.T100 = r.reached(back, 0.50), r.reached(back, 0.99), r.reached(back, 1)
	took := time.Since(m.up)
	if res.T100 != nil {
		took = back[len(back)-1]
	}
	res.Goodput = float64(len(back)) / took.Seconds() / r.config.Capacity
}

// reached is when that share of the agents was back, nil if it never was.
func (r *run) reached(back []time.Duration, share float64) *float64 {
	n := int(math.Ceil(share * float64(r.config.Agents)))
	if n > len(back) {
		return nil
	}
	t := back[n-1].Seconds() / r.config.Bound().Seconds()
	return &t
}
