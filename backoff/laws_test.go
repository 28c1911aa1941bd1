package backoff_test

import (
	"flag"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// printLaws makes TestLaws print the table that DESIGN.md has:
//
//	go test ./backoff -run '^TestLaws$' -laws -v
var printLaws = flag.Bool("laws", false, "TestLaws compares the laws of slots")

// A law is how far away the next slot is, where next is the end of the line.
type law struct {
	name string
	slot func(p *lawPacer, now time.Time, step time.Duration) time.Duration
}

// laws are those that were refused. The real Pacer is the fifth.
var laws = []law{
	{"0.1.0: the end of the line", func(p *lawPacer, now time.Time, step time.Duration) time.Duration {
		p.next = p.next.Add(step)
		return p.next.Sub(now)
	}},
	{"no slot beyond 10s", func(p *lawPacer, now time.Time, step time.Duration) time.Duration {
		if p.next = p.next.Add(step); p.next.Sub(now) > 10*time.Second {
			p.next = now.Add(10 * time.Second)
		}
		return p.next.Sub(now)
	}},
	{"a line half as long", func(p *lawPacer, now time.Time, step time.Duration) time.Duration {
		p.next = p.next.Add(step / 2)
		return p.next.Sub(now)
	}},
	{"half of the way", func(p *lawPacer, now time.Time, step time.Duration) time.Duration {
		p.next = p.next.Add(step)
		return max(p.next.Sub(now)/2, step)
	}},
}

// lawPacer is a Pacer with another law, and the meter of 0.1.0 but for the rule of gaps.
type lawPacer struct {
	law
	clip          bool // a gap counts for at most twice the second longest
	most, pending int
	next          time.Time
	at            time.Time
	gap           float64
	long          [2]float64
	done, took    float64
}

func (p *lawPacer) enter() (func(bool), time.Duration) {
	now := time.Now()
	p.advance(now)
	if p.pending == p.most {
		if p.next.Before(now) {
			p.next = now
		}
		return nil, max(p.slot(p, now, time.Duration(float64(time.Second)/p.rate())), 1)
	}
	p.pending++
	ended := false
	return func(done bool) {
		if ended {
			return
		}
		ended = true
		p.advance(time.Now())
		p.pending--
		if done {
			p.complete()
		}
	}, 0
}

func (p *lawPacer) advance(now time.Time) {
	p.gap += min(2*float64(p.pending)/float64(p.most), 1) * now.Sub(p.at).Seconds()
	if p.at.IsZero() {
		p.gap = 0
	}
	p.at = now
}

func (p *lawPacer) complete() {
	g := p.gap
	p.gap = 0
	if p.clip {
		switch {
		case g > p.long[0]:
			p.long = [2]float64{g, p.long[0]}
		case g > p.long[1]:
			p.long[1] = g
		}
		g = min(g, 2*p.long[1])
	}
	keep := 1 - min(g, 1.0/16)
	p.done, p.took = p.done*keep+1, p.took*keep+g
	p.long[0] *= keep
	p.long[1] *= keep
}

func (p *lawPacer) rate() float64 {
	if p.took < 0.1 {
		return (p.done + 1000*(0.1-p.took)) / 0.1
	}
	return p.done / p.took
}

// trial is a weather, and what the law is tried with.
type trial struct {
	name string
	weather
}

func trials() []trial {
	var all []trial
	for _, bound := range []time.Duration{8, 25, 60, 100, 1000} {
		w := large(bound * time.Second)
		all = append(all, trial{fmt.Sprintf("%ds", bound), w})
		w.phases = []phase{slow(0, 10*time.Second, 3)}
		all = append(all, trial{fmt.Sprintf("%ds, x3 for 10s", bound), w})
		w.phases = []phase{slow(0, 3*time.Second, 10)}
		all = append(all, trial{fmt.Sprintf("%ds, x10 for 3s", bound), w})
	}
	w := incidentWeather()
	w.phases, w.drops = []phase{pause(0, 10*time.Second)}, true
	all = append(all, trial{"8s after a pause of 10s", w})
	w = large(time.Minute)
	w.servers, w.balancer = 10, leastConns
	return append(all, trial{"60s, 10 replicas, least connections", w})
}

// TestLaws compares laws of slots: t99 as a multiple of the best possible, and
// attempts of each client.
func TestLaws(t *testing.T) {
	if !*printLaws {
		t.Skip("prints a table with -laws")
	}
	var table strings.Builder
	doors := map[string]func(w weather) func() admission{
		"the Pacer": func(w weather) func() admission { return w.pacers(0) },
	}
	order := []string{}
	for _, l := range laws {
		for _, clip := range []bool{false, true} {
			name := l.name
			if clip {
				name += ", gaps"
			}
			order = append(order, name)
			doors[name] = func(w weather) func() admission {
				most := int(0.7 * w.capacity / float64(max(w.servers, 1)))
				return func() admission { return &lawPacer{law: l, clip: clip, most: most} }
			}
		}
	}
	order = append(order, "the Pacer")
	fmt.Fprintf(&table, "\n| weather | %s |\n|---|%s\n", strings.Join(order, " | "), strings.Repeat("--:|", len(order)))
	for _, trial := range trials() {
		fmt.Fprintf(&table, "| %s |", trial.name)
		for _, name := range order {
			f := trial.play(t, doors[name](trial.weather))
			if math.IsInf(f.over, 1) {
				fmt.Fprintf(&table, " never, %.1f |", f.each)
				continue
			}
			fmt.Fprintf(&table, " %.2f, %.1f |", f.over, f.each)
		}
		table.WriteString("\n")
	}
	t.Log(table.String())
}

var _ admission = realPacer{(*backoff.Pacer)(nil)}
