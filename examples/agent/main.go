// Command agent holds a stream to a server, see examples/server, and comes back
// when it is lost: spread over the window that the server announced, or when it was
// told to. With -agents it is a whole fleet.
//
//	go run ./examples/agent -server http://127.0.0.1:7070 -agents 50
package main

import (
	"context"
	"errors"
	"expvar"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
)

// options are the flags.
type options struct {
	server     string
	name       string
	agents     int
	splay, max time.Duration
	debug      string
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
		fmt.Fprintln(stderr, "agent:", err)
		return 2
	}
	if err := fleet(ctx, o, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "agent:", err)
		return 1
	}
	return 0
}

func parse(args []string, help io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("agent", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.server, "server", "http://127.0.0.1:7070", "the server")
	f.StringVar(&o.name, "name", "agent", "name of the agent, which is part of its token")
	f.IntVar(&o.agents, "agents", 1, "how many agents to be")
	f.DurationVar(&o.splay, "splay", 10*time.Second, "spread of the return to a server that has announced nothing")
	f.DurationVar(&o.max, "max", 15*time.Second, "longest wait between two attempts, unless the server asks for more")
	f.StringVar(&o.debug, "debug", "", "where to serve /debug/vars; empty is nowhere")
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
	fmt.Fprint(w, "Usage: agent [flags]\n\nHolds a stream to a server, see examples/server, and comes back when it is lost.\n\n")
	f.SetOutput(w)
	f.PrintDefaults()
}

func (o options) check(rest []string) error {
	server, err := url.Parse(o.server)
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case err != nil || server.Host == "" || (server.Scheme != "http" && server.Scheme != "https"):
		return fmt.Errorf("-server is %q, must be a URL like http://127.0.0.1:7070", o.server)
	case o.agents < 1:
		return fmt.Errorf("-agents is %d, must be at least 1", o.agents)
	case o.splay < 0:
		return fmt.Errorf("-splay is %v, must not be negative", o.splay)
	case o.max <= 0:
		return fmt.Errorf("-max is %v, must be positive", o.max)
	}
	return nil
}

// fleet runs the agents until ctx ends. Its error is that of agents whom the server
// will never have.
func fleet(ctx context.Context, o options, log *slog.Logger) error {
	base := transport.New(o.agents)
	base.ResponseHeaderTimeout = 20 * time.Second // a login; the stream has none
	reuse := &transport.Reuse{Base: base}
	defer reuse.CloseIdleConnections()
	if o.debug != "" {
		stop, err := debug(ctx, o.debug, reuse)
		if err != nil {
			return err
		}
		defer stop()
	}
	errs := make([]error, o.agents)
	var agents sync.WaitGroup
	for i := range o.agents {
		name := o.name
		if o.agents > 1 {
			name = fmt.Sprintf("%s-%d", o.name, i)
		}
		a := agent{options: o, token: "token of " + name, client: &http.Client{Transport: reuse}, log: log.With("agent", name)}
		agents.Go(func() {
			if err := a.run(ctx); errors.Is(err, backoff.ErrPermanent) {
				errs[i] = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	agents.Wait()
	return errors.Join(errs...)
}

// debug serves what the transport counts.
func debug(ctx context.Context, address string, reuse *transport.Reuse) (stop func(), err error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	vars := new(expvar.Map).Init()
	vars.Set("transport", expvar.Func(func() any { return reuse.Stats() }))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/vars", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, vars.String())
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	return func() {
		_ = srv.Close()
		<-served
	}, nil
}
