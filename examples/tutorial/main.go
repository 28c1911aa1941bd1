// Command tutorial is the program of docs/TUTORIAL.md: 200 agents, one server, and an
// identity provider that does 40 logins a second. Each step changes one function.
//
//	go run ./examples/tutorial -step 0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// The numbers of the tutorial. All agents are back after agents/40 = 5 s at best.
const (
	agents   = 200
	downFor  = 2 * time.Second // the agents are there before the server
	cutAt    = 15 * time.Second
	duration = 24*time.Second + 500*time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("tutorial", flag.ContinueOnError)
	flags.SetOutput(stderr)
	number := flags.Int("step", 0, "the step of docs/TUTORIAL.md, 0 to 3")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	idp := &ttlcachetest.Provider{Took: 100 * time.Millisecond, Parallel: 4} // 40 logins a second
	all := steps(idp)
	if *number < 0 || *number >= len(all) {
		fmt.Fprintf(stderr, "tutorial: -step is %d, want 0 to %d\n", *number, len(all)-1)
		return 2
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(stderr, "tutorial:", err)
		return 1
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
	play(ctx, all[*number], idp, l, dial, stdout)
	return 0
}

// A step is one variant of the three functions that the tutorial changes.
type step struct {
	name   string
	agent  func(ctx context.Context, connect session)
	listen func(net.Listener) net.Listener
	lookUp func(ctx context.Context, token string) (string, error)
}

// steps are the tutorial's, each with one function more of this library.
func steps(idp *ttlcachetest.Provider) []step {
	return []step{
		{"plain", plainAgent, plainListener, idp.Load},
		{"backoff", politeAgent, plainListener, idp.Load},
		{"listener", politeAgent, limitedListener, idp.Load},
		{"ttlcache", politeAgent, limitedListener, newVerdicts(idp).Get},
	}
}

// play runs one step: the agents first, then the server, then a cut of all streams. It
// prints a line a second.
func play(ctx context.Context, s step, idp *ttlcachetest.Provider, l net.Listener, dial dialer, out io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	f := startFleet(ctx, s, dial)
	defer f.wait()
	fmt.Fprintf(out, "step %s: %d agents, 40 logins a second; the server is up after %v\n", s.name, agents, downFor)
	began := time.Now()
	pause(ctx, downFor)

	srv := newServer(s.lookUp)
	web := &http.Server{Handler: srv, ConnContext: connContext}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(s.listen(l)) // ErrServerClosed, at Close
	}()
	defer func() { _ = web.Close(); <-served }()

	for pause(ctx, time.Second) {
		at := time.Since(began).Round(time.Second)
		fmt.Fprintf(out, "%4v  connected %3d of %d   attempts %4d   logins asked %4d\n",
			at, srv.online.Load(), agents, f.attempts.Load(), idp.Stats().Asked)
		if at == cutAt {
			fmt.Fprintln(out, "the network cuts all streams")
			srv.cut()
		}
	}
}

// pause waits for d, and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
