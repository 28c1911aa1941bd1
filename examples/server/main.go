// Command server holds a stream to each of its agents, and outlives the moment at
// which all of them come back. It is a start for a server of one's own: ports,
// admission, logins, announcements and an orderly end are real, only the identity
// provider is not.
//
//	go run ./examples/server
//	go run ./examples/agent -agents 50
//
// It says each second how many agents are there, if that has changed, and how many were
// turned away: of 50 agents that start at one moment 45 get a 503 first, since the
// provider does four logins at once. Each is told when to come back, and is let in then.
//
// The private port has /healthz, /readyz and /debug/vars. A SIGTERM announces a
// restart to all agents before it ends the server; a SIGKILL does not, and the agents
// come back in the window that they were told of while they were connected. With -away 0
// a SIGTERM lets the agents go to other replicas, no faster than those can log them in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	public, private string
	parallel        int           // logins that the provider works on at once
	loginTime       time.Duration // of one
	heartbeat       time.Duration
	window          time.Duration // the least that is announced
	away            time.Duration // how long a planned restart takes, 0 if other replicas take the agents
	grace           time.Duration // for an orderly end
	verbose         bool
}

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
		fmt.Fprintln(stderr, "server:", err)
		return 2
	}
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if err := serve(ctx, o, log, stdout); err != nil {
		fmt.Fprintln(stderr, "server:", err)
		return 1
	}
	return 0
}

func parse(args []string, help io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("server", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.public, "public", "127.0.0.1:7070", "where agents connect")
	f.StringVar(&o.private, "private", "127.0.0.1:7071", "where /healthz, /readyz and /debug/vars are")
	f.IntVar(&o.parallel, "logins", 4, "logins that the identity provider works on at once")
	f.DurationVar(&o.loginTime, "login-time", 50*time.Millisecond, "how long it takes for one")
	f.DurationVar(&o.heartbeat, "heartbeat", 10*time.Second, "how often each agent is told the window")
	f.DurationVar(&o.window, "window", time.Second, "the least window that is announced")
	f.DurationVar(&o.away, "away", 5*time.Second, "how long a planned restart takes, told to the agents on SIGTERM; 0 if other replicas take the agents")
	f.DurationVar(&o.grace, "grace", 25*time.Second, "how long an orderly end may take")
	f.BoolVar(&o.verbose, "v", false, "log each event")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(f, help)
	}
	if err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

// usage is for those who ask. A wrong flag gets one line instead, which names it.
func usage(f *flag.FlagSet, w io.Writer) {
	fmt.Fprint(w, "Usage: server [flags]\n\nHolds a stream to each of its agents, see examples/agent.\n\n")
	f.SetOutput(w)
	f.PrintDefaults()
}

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.private == "":
		return errors.New("-private must not be empty")
	case o.away < 0:
		return fmt.Errorf("-away is %v, must not be negative", o.away)
	case o.parallel < 1:
		return fmt.Errorf("-logins is %d, must be at least 1", o.parallel)
	}
	for name, d := range map[string]time.Duration{"login-time": o.loginTime, "heartbeat": o.heartbeat, "window": o.window, "grace": o.grace} {
		if d <= 0 {
			return fmt.Errorf("-%s is %v, must be positive", name, d)
		}
	}
	return nil
}

// serve runs a server until ctx ends, and then ends it in order.
func serve(ctx context.Context, o options, log *slog.Logger, stdout io.Writer) error {
	s, err := newServer(ctx, o, log)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "agents at http://%s, private at http://%s\n", s.listener.Addr(), s.listener.Private.Addr())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := (arrivals{}); ; {
		select {
		case <-tick.C:
			last = s.sayArrivals(last)
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return s.shutdown(context.WithoutCancel(ctx))
		}
	}
}
