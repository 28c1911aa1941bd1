// Command replicas shows what a restart does to a server of several replicas, and its
// cure: three server processes behind a real HAProxy, a real Redis, one identity provider
// of fixed capacity, and agents that each hold a stream.
//
//	go run .                          every arm, a few minutes
//	go run . -agents 120 -arms rolling-drained,rolling-plain
//	go run . -json > replicas.json
//	go run . -svg replicas.svg
//	go run . -scale 48000             connections, bytes for each, and all restarted at once
//
// It needs haproxy and redis-server. Everything that it starts it ends, after Ctrl-C too.
// See docs/REPLICAS.md for what the arms are and what the figures mean.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if role, ok := roles[os.Getenv(roleVariable)]; ok { // a process of ours
		os.Exit(role(ctx))
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the flags.
type options struct {
	agents   int
	capacity float64       // lookups a second of the provider
	deadline time.Duration // of a login
	outage   time.Duration // from the end of a process to the next
	patience time.Duration // for an arm to be over
	arms     []arm
	json     bool
	svg      string
	scale    int
	stream   string        // of scale: who has it
	bound    time.Duration // of scale: the connections by the logins a second
}

func parse(args []string, help io.Writer) (options, error) {
	o := options{}
	names := ""
	f := flag.NewFlagSet("replicas", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.agents, "agents", 240, "how many agents there are")
	f.Float64Var(&o.capacity, "capacity", 60, "lookups a second of the identity provider")
	f.DurationVar(&o.deadline, "deadline", 1500*time.Millisecond, "how long a server lets a login take")
	f.DurationVar(&o.outage, "outage", time.Second, "how long a replica is away when it restarts")
	f.DurationVar(&o.patience, "patience", time.Minute, "how long an arm may take to have all agents back")
	f.StringVar(&names, "arms", "", "which arms to play, by comma; all unless given")
	f.BoolVar(&o.json, "json", false, "write JSON instead of a table")
	f.StringVar(&o.svg, "svg", "", "a `file` for a picture")
	f.IntVar(&o.scale, "scale", 0, "instead of the arms, hold so many connections in several processes")
	f.StringVar(&o.stream, "stream", "hijacked", "of -scale: `hijacked` as WebSockets are, or held by a handler of net/http")
	f.DurationVar(&o.bound, "bound", 80*time.Second, "how long the logins of -scale take at best; two cores do 600 a second")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(help, "Usage: replicas [flags]\n\nArms: %s\n\n", strings.Join(armNames(), ", "))
		f.SetOutput(help)
		f.PrintDefaults()
		return o, err
	}
	if err != nil {
		return o, err
	}
	if o.arms, err = chosen(names); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.agents < replicas || o.agents > 10_000:
		return fmt.Errorf("-agents is %d, must be from %d to 10000", o.agents, replicas)
	case !(o.capacity >= 1 && o.capacity <= 10_000):
		return fmt.Errorf("-capacity is %v, must be from 1 to 10000", o.capacity)
	case o.stream != "hijacked" && o.stream != "handler":
		return fmt.Errorf("-stream is %q, must be hijacked or handler", o.stream)
	case o.scale != 0 && (o.scale < 100 || o.scale > 200_000):
		return fmt.Errorf("-scale is %d, must be from 100 to 200000", o.scale)
	}
	for name, d := range map[string]time.Duration{"deadline": o.deadline, "outage": o.outage, "patience": o.patience, "bound": o.bound} {
		if d <= 0 || d > time.Hour {
			return fmt.Errorf("-%s is %v, must be positive and at most an hour", name, d)
		}
	}
	return nil
}

// chosen returns the arms with these names.
func chosen(names string) ([]arm, error) {
	if names == "" {
		return arms, nil
	}
	var some []arm
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(arms, func(a arm) bool { return a.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("-arms: there is no %q; there are %s", name, strings.Join(armNames(), ", "))
		}
		some = append(some, arms[i])
	}
	return some, nil
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "replicas:", err)
		return 2
	case o.scale > 0:
		err = scale(ctx, o, stdout, stderr)
	default:
		err = playAll(ctx, o, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "replicas:", err)
		return 1
	}
	return 0
}

// playAll plays the arms one after the other, since each wants both cores, and writes
// what they did. After Ctrl-C it writes what is known by then.
func playAll(ctx context.Context, o options, stdout, stderr io.Writer) error {
	var results []result
	for i, a := range o.arms {
		fmt.Fprintf(stderr, "%d of %d: %s\n", i+1, len(o.arms), a.Name)
		r, err := play(ctx, o, a, stderr)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		results = append(results, r)
	}
	if o.svg != "" {
		if err := os.WriteFile(o.svg, picture(results), 0o644); err != nil {
			return err
		}
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Agents   int      `json:"agents"`
			Capacity float64  `json:"capacity"`
			Arms     []result `json:"arms"`
		}{o.agents, o.capacity, results})
	}
	return table(stdout, o, results)
}
