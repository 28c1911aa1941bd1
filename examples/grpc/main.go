// Command grpc is a gRPC server whose agents come back politely, and the agents.
//
//	go -C examples/grpc run . server [-public 127.0.0.1:7443] [-private 127.0.0.1:7444] [-capacity 60] [-agents 400]
//	go -C examples/grpc run . agents [-server 127.0.0.1:7443] [-agents 400]
//
// The server listens twice: on a private port, through which it reaches itself before
// it opens the public one, and on the public one within limits. An agent holds one
// stream. When it logs in it is told how long its whole fleet needs to come back
// (backoff.Pacer.Window), and when it is turned away, when to come back (RetryInfo).
//
// The service is gRPC's own health service, so that nothing has to be generated: an
// agent watches, for as long as the server is there. Transport security is left out;
// it goes on top, as grpc.Creds and grpc.WithTransportCredentials.
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
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(exitStatus(run(ctx, os.Args[1:], os.Stdout), os.Stderr))
}

// exitStatus is the exit status for err, which it writes: 2 for what the command line got
// wrong.
func exitStatus(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(stderr, "grpc:", err)
	if _, wrong := errors.AsType[argumentError](err); wrong {
		return 2
	}
	return 1
}

// argumentError is what the command line got wrong.
type argumentError struct{ error }

// options are the command line.
type options struct {
	part   string // server or agents
	server string // where it is, for agents
	config
}

// run plays the part that args name until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	if o.part == "server" {
		return runServer(ctx, o.config, log)
	}
	runAgents(ctx, o.server, o.fleet, log)
	return nil
}

func parse(args []string, help io.Writer) (options, error) {
	var o options
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.part, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("grpc", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.public, "public", "127.0.0.1:7443", "where agents come in")
	flags.StringVar(&o.private, "private", "127.0.0.1:7444", "where the server reaches itself")
	flags.StringVar(&o.server, "server", "127.0.0.1:7443", "where the server is")
	flags.IntVar(&o.capacity, "capacity", 60, "logins a second")
	flags.IntVar(&o.fleet, "agents", 400, "size of the fleet")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(help, "Usage: go -C examples/grpc run . server [flags], and in another terminal: go -C examples/grpc run . agents [flags]\n\n")
		flags.SetOutput(help)
		flags.PrintDefaults()
	case err != nil:
		err = argumentError{err}
	case o.part != "server" && o.part != "agents":
		err = argumentError{fmt.Errorf("want server or agents, not %q; -h says what they take", o.part)}
	case flags.NArg() > 0:
		err = argumentError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	case o.capacity < 1:
		err = argumentError{fmt.Errorf("-capacity is %d, must be at least 1", o.capacity)}
	case o.fleet < 1:
		err = argumentError{fmt.Errorf("-agents is %d, must be at least 1", o.fleet)}
	}
	return o, err
}

func runServer(ctx context.Context, c config, log *slog.Logger) error {
	s, err := start(ctx, c)
	if err != nil {
		return err
	}
	log.Info("open", "public", s.listener.Addr(), "private", s.listener.Private.Addr())
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			log.Info("serving", "listener", s.listener.Public.Stats(), "logins", s.pacer.Stats())
		case <-ctx.Done():
			log.Info("leaving: agents were told how to come back")
			return s.leave(5 * time.Second)
		}
	}
}

func runAgents(ctx context.Context, address string, n int, log *slog.Logger) {
	var all sync.WaitGroup
	for i := range n {
		a := newAgent(address, fmt.Sprintf("token of agent %d", i))
		a.backoff.OnWait = func(e backoff.Event) {
			log.Info("waiting", "agent", i, "delay", e.Delay, "hinted", e.Hinted, "err", e.Err)
		}
		a.onUp = func() { log.Info("up", "agent", i) }
		all.Go(func() { log.Info("stopped", "agent", i, "why", a.run(ctx)) })
	}
	all.Wait()
}
