// Command observability is a small service with one of everything in the library, and
// a few agents, whose Stats it exports: to Prometheus at /metrics, and on demand to
// OpenTelemetry, printed. The collectors come from the modules contrib/promstats, which
// also has a dashboard for Grafana, and contrib/otelstats.
//
// Usage, in the repository:
//
//	go -C examples/observability run . [-listen 127.0.0.1:9464] [-agents 5] [-otel 10s]
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
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/sdk/metric"
)

// options are the flags.
type options struct {
	listen string
	agents int
	otel   time.Duration // how often to print; 0 is never
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(1)
	}
}

func parse(args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("observability", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:9464", "where to serve /metrics")
	flags.IntVar(&o.agents, "agents", 5, "how many agents there are")
	flags.DurationVar(&o.otel, "otel", 0, "how often to print what OpenTelemetry gets; 0 is never")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(help)
		flags.Usage()
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.agents < 0:
		err = fmt.Errorf("-agents is %d, must not be negative", o.agents)
	case o.otel < 0:
		err = fmt.Errorf("-otel is %v, must not be negative", o.otel)
	}
	return o, err
}

// run serves until ctx is done. Its first line says where.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	s, err := newService(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s/metrics\n", l.Addr())

	if o.otel > 0 {
		provider, err := printing(s, o.otel, out)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		defer func() { err = errors.Join(err, provider.Shutdown(context.WithoutCancel(ctx))) }()
	}

	ctx, cancel := context.WithCancel(ctx)
	var agents sync.WaitGroup
	for name := range o.agents {
		agents.Go(func() { s.agent(ctx, name) })
	}
	defer agents.Wait()
	defer cancel()

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{}))
	return serve(ctx, l, mux)
}

// serve serves on l until ctx is done.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	err := server.Close()
	<-failed // http.ErrServerClosed
	return err
}

// printing exports s to OpenTelemetry, whose figures are printed to out.
func printing(s *service, every time.Duration, out io.Writer) (*metric.MeterProvider, error) {
	printer, err := stdoutmetric.New(stdoutmetric.WithWriter(out))
	if err != nil {
		return nil, err
	}
	provider := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(printer, metric.WithInterval(every))))
	if err := s.observe(provider.Meter("connhygiene")); err != nil {
		return nil, errors.Join(err, provider.Shutdown(context.Background()))
	}
	return provider, nil
}
