// Command storm shows a reconnect storm and its cure on one machine, in about a minute: a
// server with hundreds of agents dies and comes back, and every agent returns at once. It
// plays this as arms, variants of server and clients with and without this library, on real
// TCP over loopback with real net/http and database/sql, and ends with a table.
//
//	go run ./examples/storm
//	go run ./examples/storm -agents 800 -arms naive,gate
//	go run ./examples/storm -json > storm.json
//	go run ./examples/storm -svg storm.svg -csv storm.csv -html storm.html
//	go run ./examples/storm -adversity slow10
//	go run ./examples/storm -explain -agents 5000 -capacity 200
//
// See docs/STORM.md for what the arms are and what the figures mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/connhygiene/connhygiene/internal/storm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "storm:", err)
		return 2
	case o.explain:
		err = explain(stdout, o.config, o.maxConnections)
	default:
		err = storms(ctx, o, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "storm:", flagged(err))
		return status(err)
	}
	return 0
}

// status is 2 for what a flag got wrong, found out late: a busy port.
func status(err error) int {
	var wrong *storm.FieldError
	if errors.As(err, &wrong) {
		return 2
	}
	return 1
}

// storms plays the arms and writes what they did. An end of ctx is not an error:
// it writes what is known by then.
func storms(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	out, err := o.create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	// First, as long as nothing else has used the process's memory.
	rep := report{options: o}
	if rep.footprint, err = storm.Measure(ctx, o.config); err != nil && ctx.Err() == nil {
		return err
	}
	if rep.results, err = play(ctx, o, newDisplay(stderr, o)); err != nil {
		return err
	}
	return rep.write(stdout, stderr, out)
}

// play runs the arms, a few at a time, and returns their results in the order
// they were asked for. Arms that had not begun when ctx ended are left out.
func play(ctx context.Context, o options, d *display) ([]storm.Result, error) {
	defer d.close()
	results := make([]*storm.Result, len(o.arms))
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(o.parallel)
	for i, name := range o.arms {
		group.Go(func() error {
			if running.Err() != nil {
				return nil
			}
			res, err := storm.Run(running, o.config, name, func(p storm.Progress) { d.show(i, p) })
			results[i] = &res
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var known []storm.Result
	for _, res := range results {
		if res != nil {
			known = append(known, *res)
		}
	}
	return known, nil
}
