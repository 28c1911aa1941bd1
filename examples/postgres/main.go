// Command postgres is what a service does with its pools on a real PostgreSQL: it
// asks the server how many connections there are, divides them among its pools, warms
// one up, reports how the pools fare, logs in with credentials that change, and then
// goes through the storm of examples/storm, whose lookups are real queries here.
//
//	go -C examples/postgres run .
//	go -C examples/postgres run . -dsn 'postgres://app:secret@127.0.0.1/app'
//
// Without -dsn it starts a server of its own, in a directory and on a socket that go
// when it ends, if the programs of PostgreSQL are installed.
//
// To copy it into a module of your own, leave out storm.go and storm_test.go, which need
// a package that only this repository can import, and storms where main.go lists the
// chapters.
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
	"time"
)

// options are the flags.
type options struct {
	dsn         string
	replicas    int
	load        time.Duration // how long each pool is under load
	agents      int           // of the storm; 0 is none
	maxConnects int           // of the server of our own
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "postgres:", err)
		return 2
	}
	if err := show(ctx, o, stdout); err != nil {
		fmt.Fprintln(stderr, "postgres:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("postgres", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.dsn, "dsn", "", "a server to use; empty starts one")
	f.IntVar(&o.replicas, "replicas", 2, "processes of this service that share the server")
	f.DurationVar(&o.load, "load", time.Second, "how long a pool is put under load")
	f.IntVar(&o.agents, "agents", 240, "agents of the storm; 0 for no storm")
	f.IntVar(&o.maxConnects, "max-connections", 60, "of the server that is started without -dsn")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.replicas < 1:
		return o, fmt.Errorf("-replicas is %d, must be at least 1", o.replicas)
	case o.load <= 0:
		return o, fmt.Errorf("-load is %v, must be positive", o.load)
	case o.agents < 0:
		return o, fmt.Errorf("-agents is %d, must not be negative", o.agents)
	case o.maxConnects < 20:
		return o, fmt.Errorf("-max-connections is %d, must be at least 20", o.maxConnects)
	}
	return o, nil
}

// show goes through the chapters. The end of ctx ends it, and is no error.
func show(ctx context.Context, o options, out io.Writer) (err error) {
	db := &database{dsn: o.dsn}
	if o.dsn == "" {
		if db, err = startServer(ctx, o.maxConnects); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.stop()) }()
	}
	for _, chapter := range []func(context.Context, options, *database, io.Writer) error{sizes, churn, rotation, storms} {
		if err := chapter(ctx, o, db, out); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
