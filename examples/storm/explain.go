package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/storm"
)

// setting is a line of -explain.
type setting struct{ Name, Value, Why string }

// explain prints what to set for such a fleet, and why.
func explain(w io.Writer, c storm.Config, maxConnections int) error {
	settings, err := recommend(c, maxConnections)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "N = %d agents, C = %g lookups a second, deadline d = %v, database server of M = %d connections.\n"+
		"A lookup takes S = %v here; with another, MaxPending, MaxLoads and the auth pool change as their formula says.\n\n", c.Agents, c.Capacity, c.Deadline, maxConnections, seconds(c.Service()))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, s.Value, s.Why)
	}
	return t.Flush()
}

func recommend(c storm.Config, maxConnections int) ([]setting, error) {
	pools, err := poolSettings(c, maxConnections)
	if err != nil {
		return nil, err
	}
	all := append(physics(c), clientSettings(c)...)
	all = append(all, serverSettings(c)...)
	all = append(all, pools...)
	return append(all, machineSettings(c)...), nil
}

// usualMax is the ceiling of delays that agents which buffer data can afford, as
// in the PMM incident; usualMin is where such loops begin.
const (
	usualMax = 15 * time.Second
	usualMin = time.Second
)

// physics is what no setting changes: how long it takes at best, and what stands in
// the way of that. Two things can, at different times of one recovery, so they are
// decided apart: more is offered than the upstream can do, or too little because the
// last agents are still waiting out their delays.
func physics(c storm.Config) []setting {
	overload, gaps := offered(c, usualMin) > c.Capacity, usualMax > c.Bound()
	regime, why := "capacity-limited", "what is in flight has to be limited: gate, pacer, window and planned do it, cache does it for lookups"
	switch {
	case overload && gaps:
		regime, why = "capacity-limited, then gap-limited", "first more is offered than C, at the end less: gate, pacer, window and planned cure both, cache the first"
	case gaps:
		regime, why = "gap-limited", "the server waits for its agents: gate and planned have them in line when it opens, window and pacer shorten their delays; cache does not help"
	}
	return []setting{
		{"bound", seconds(c.Bound()), "N/C: each agent costs one lookup, so the last one is back no sooner"},
		{"regime", regime, why},
		{"livelock", yes(overload), livelock(c)},
		{"gaps", yes(gaps), fmt.Sprintf("delays grow to %v, N/C is %v: %s", usualMax, seconds(c.Bound()), gapped(gaps))},
	}
}

// offered is how many attempts a second N agents make that wait for delay on average
// and then try for as long as the deadline.
func offered(c storm.Config, delay time.Duration) float64 {
	return float64(c.Agents) / (delay + c.Deadline).Seconds()
}

// livelock compares what is offered with the capacity, at the shortest delays and at
// the longest, of which half is jitter.
func livelock(c storm.Config) string {
	first, last := offered(c, usualMin), offered(c, usualMax*3/4)
	early := fmt.Sprintf("N/(mean delay + d) = %.4g/s at delays of %v", first, usualMin)
	switch {
	case first <= c.Capacity:
		return early + ", not above C"
	case last <= c.Capacity:
		return fmt.Sprintf("%s is above C: without limits, clients that forget failures on connect never come back; at delays of %v it is %.4g/s, so others come late", early, usualMax, last)
	default:
		return fmt.Sprintf("%s is above C, and so is %.4g/s at delays of %v: without limits, most never come back", early, last, usualMax)
	}
}

func gapped(gaps bool) string {
	if gaps {
		return "the last agent may come when the upstream has long been idle"
	}
	return "there are always enough agents at the door"
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func clientSettings(c storm.Config) []setting {
	return []setting{
		{"backoff.Policy.Max", seconds(most(c)), fmt.Sprintf("min(%v, N/C): a longer delay leaves the server waiting for its last agents", usualMax)},
		{"backoff.Backoff.Splay", seconds(c.Bound()), "N/C, for agents that cannot be told anything"},
		{"backoff.Backoff.SetWindow", seconds(c.Bound()), "N/C = Pacer.Window(N), announced while they are connected or before a restart"},
		{"backoff.Policy.MaxHint", seconds(max(10*most(c), 2*c.Bound())), "max(10*Max, 2*N/C): a hint or window beyond it is cut short, and 10*Max is the default"},
	}
}

// most is the ceiling of an agent's delays.
func most(c storm.Config) time.Duration { return min(usualMax, c.Bound()) }

func serverSettings(c storm.Config) []setting {
	ttl := max(time.Minute, 2*c.Bound(), most(c)+c.Deadline)
	return []setting{
		{"listener.Limits.MaxPending", count(c.InFlight()), "2*C*S, at most C*d/2: those being looked up and as many in line"},
		{"listener.Limits.Rate", "0", "none: a rate twice too high protects nothing, one too low costs time"},
		{"backoff.Pacer.MaxPending", count(c.PacerPending()), "C*d*3/8: all that are let in are answered in time, also if C is guessed twice too high"},
		{"ttlcache.Config.MaxLoads", count(c.InFlight()), "as MaxPending: more only wait in the upstream's own queue"},
		{"ttlcache.Config.TTL", seconds(ttl), fmt.Sprintf("max(1m, 2*N/C, %v + d): renewals take half of C at most, and a retry finds its own late verdict", seconds(most(c)))},
		{"ttlcache.Config.MaxEntries", count(max(2*c.Agents, 65536)), "max(2*N, 65536): the whole fleet, and strangers"},
		{"auth deadline", seconds(c.Deadline), fmt.Sprintf("must be above MaxPending/C = %v, or the queue itself causes time-outs", seconds(queue(c)))},
	}
}

// queue is how long the last of those in flight waits.
func queue(c storm.Config) time.Duration {
	return time.Duration(float64(c.InFlight()) / c.Capacity * float64(time.Second))
}

// dialsAtOnce of each pool: a small budget wants few.
const dialsAtOnce = 2

// poolSettings splits the server into bulkheads, so that a storm of agents never
// takes the connections of other work.
func poolSettings(c storm.Config, maxConnections int) ([]setting, error) {
	reserved := maxConnections / 10
	b := dbpool.Budget{MaxConnections: maxConnections, Reserved: reserved, Parallel: dialsAtOnce}
	sizes, err := b.Split(
		dbpool.Share{Name: "auth", Weight: 2, Min: min(c.InFlight(), maxConnections/2), Max: c.InFlight()},
		dbpool.Share{Name: "api", Weight: 2},
		dbpool.Share{Name: "internal", Weight: 1},
	)
	var wrong *dbpool.FieldError
	if errors.As(err, &wrong) {
		return nil, &storm.FieldError{Field: "max-connections", Value: maxConnections, Limit: wrong.Reason}
	}
	if err != nil {
		return nil, err
	}
	return []setting{
		{"dbpool.Budget", count(maxConnections - reserved - 3*dialsAtOnce), fmt.Sprintf("(M - %d reserved) / processes - 3 pools * %d dials at once; here for one process", reserved, dialsAtOnce)},
		{"dbpool.AuthPath", count(sizes["auth"]), "as MaxLoads, at most M/2: a lookup holds one connection"},
		{"dbpool.Server, API", count(sizes["api"]), "two thirds of what is left, in a pool of its own"},
		{"dbpool.Server, internal", count(sizes["internal"]), "one third, so that the service can reach itself during a storm"},
	}, nil
}

func machineSettings(c storm.Config) []setting {
	const perAgent = 25_000 // bytes, as this program measures
	return []setting{
		{"listener.Config.Park", "true", fmt.Sprintf("if agents wait %v for an answer; net.core.somaxconn >= N, or the rest repeat their SYN", seconds(c.Bound()))},
		{"file descriptors", count(c.Agents + maxSpare), fmt.Sprintf("N + %d on the server", maxSpare)},
		{"memory", fmt.Sprintf("%.1f MB", float64(c.Agents)*perAgent/1e6), "N * 25 KB for net/http's ends of the streams"},
	}
}

// maxSpare are descriptors for everything but agents.
const maxSpare = 128

func count(n int) string { return fmt.Sprint(n) }

func seconds(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
