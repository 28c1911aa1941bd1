// Command grpc is a gRPC server whose agents come back politely, and the agents.
//
// The server listens twice: on a private port, through which it reaches itself before
// it opens the public one, and on the public one within limits. An agent holds one
// stream. When it logs in it is told how long its whole fleet needs to come back
// (backoff.Pacer.Window), and when it is turned away, when to come back (RetryInfo).
//
// Usage:
//
//	grpc server [-public 127.0.0.1:7443] [-private 127.0.0.1:7444] [-capacity 60] [-agents 400]
//	grpc agents [-server 127.0.0.1:7443] [-agents 400]
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
	"sync"
	"syscall"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

// run plays the part that args name until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("want server or agents")
	}
	flags := flag.NewFlagSet("grpc "+args[0], flag.ContinueOnError)
	public := flags.String("public", "127.0.0.1:7443", "where agents come in")
	private := flags.String("private", "127.0.0.1:7444", "where the server reaches itself")
	address := flags.String("server", "127.0.0.1:7443", "where the server is")
	capacity := flags.Int("capacity", 60, "logins a second")
	agents := flags.Int("agents", 400, "size of the fleet")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	switch args[0] {
	case "server":
		c := config{public: *public, private: *private, capacity: *capacity, fleet: *agents}
		return runServer(ctx, c, log)
	case "agents":
		runAgents(ctx, *address, *agents, log)
		return nil
	}
	return fmt.Errorf("want server or agents, not %q", args[0])
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
