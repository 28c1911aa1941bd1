package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// roleVariable is what a process of ours finds its role in.
const roleVariable = "CONNHYGIENE_REPLICAS_ROLE"

var roles = map[string]func(context.Context) int{"server": serverMain, "scale-server": scaleServer, "scale-agents": scaleAgents}

// A server holds the streams of its agents.
type server struct {
	public   string
	provider string
	mode     string
	capacity float64
	deadline time.Duration
	verdicts *ttlcache.Cache[string, string]
	client   *http.Client
	streams  atomic.Int64
	window   atomic.Int64  // a time.Duration that is announced
	announce chan struct{} // closed when window is to be told
}

func serverMain(ctx context.Context) int {
	if err := serve(ctx); err != nil {
		log.Print("server: ", err)
		return 1
	}
	return 0
}

// serve is a server process, until it is told to end.
func serve(ctx context.Context) error {
	s := &server{
		public: os.Getenv("PUBLIC"), provider: os.Getenv("PROVIDER"), mode: os.Getenv("MODE"),
		client: &http.Client{Transport: transport.New(8)}, announce: make(chan struct{}),
	}
	workers, err := strconv.Atoi(os.Getenv("WORKERS"))
	if err != nil {
		return err
	}
	if s.capacity, err = strconv.ParseFloat(os.Getenv("CAPACITY"), 64); err != nil {
		return err
	}
	if s.deadline, err = time.ParseDuration(os.Getenv("DEADLINE")); err != nil {
		return err
	}
	config := ttlcache.Config[string, string]{
		TTL: 10 * time.Minute, MaxLoads: share(2*workers, replicas), LoadTimeout: 5 * time.Second,
	}
	tier, err := newTier(os.Getenv("REDIS"))
	if err != nil {
		return err
	}
	if tier != nil {
		defer tier.Close()
		config.Tier, config.Secret = tier, []byte("a secret of at least 32 bytes, the same for all")
	}
	s.verdicts = ttlcache.New(s.load, config)
	defer s.verdicts.Close()

	gate, err := listener.Reserve(ctx, "tcp", s.public)
	if err != nil {
		return err
	}
	// With a limit on connections each of them can be told to leave, see listener.Leaving.
	limit := listener.Limits{MaxConns: 20_000}
	door := listener.Throttle(gate, limit)
	defer door.Close()
	if tier != nil {
		all := limits{loads: 2 * workers, cache: s.verdicts, gate: door, door: limit}
		go func() { _ = tier.Replicas(ctx, all.divide) }()
	}
	warm, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.verdicts.WaitTier(warm); err != nil {
		log.Print("server: without a tier for now: ", err)
	}
	return s.serve(ctx, gate, door)
}

// newTier returns nil without an address.
func newTier(address string) (*redistier.Tier, error) {
	if address == "" {
		return nil, nil
	}
	return redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{address}}})
}

func (s *server) serve(ctx context.Context, gate *listener.Gate, door *listener.Throttled) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", s.stream)
	srv := &http.Server{Handler: mux}
	end := listener.HTTPEnd(srv, 0)
	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(door) }()

	private := http.NewServeMux()
	private.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if door.State() != listener.Opened { // the balancer sends no more
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	l, err := net.Listen("tcp", os.Getenv("PRIVATE"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := gate.Open(ctx); err != nil {
		return err
	}
	go func() { failed <- http.Serve(l, private) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return s.leave(context.WithoutCancel(ctx), door, end)
	}
}

// leave ends the server as its mode says. A process that returns from it ends, and the
// connections that it still has with it.
func (s *server) leave(ctx context.Context, door *listener.Throttled, end func(net.Conn)) error {
	switch s.mode {
	case window:
		s.window.Store(int64(max(time.Second, time.Duration(float64(s.streams.Load())/s.capacity*float64(time.Second)))))
		close(s.announce)
		return pause(ctx, 200*time.Millisecond)
	case drained:
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		return door.Drain(ctx, s.capacity/2, end)
	}
	return nil
}

// load asks the provider.
func (s *server) load(ctx context.Context, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.provider, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", token)
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer transport.DrainClose(res.Body)
	user, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the provider says %s", res.Status)
	}
	return string(user), err
}

func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.deadline)
	defer cancel()
	if _, err := s.verdicts.Get(ctx, r.Header.Get("Authorization")); err != nil {
		w.Header().Set("Connection", "close")
		if d, ok := backoff.Hint(err); ok {
			transport.SetRetryAfter(w.Header(), d)
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s.streams.Add(1)
	defer s.streams.Add(-1)
	say := http.NewResponseController(w)
	fmt.Fprintf(w, "replica %s\n", s.public)
	if say.Flush() != nil {
		return
	}
	select {
	case <-r.Context().Done():
	case <-listener.Leaving(r.Context()):
		fmt.Fprintln(w, "moved")
	case <-s.announce:
		fmt.Fprintln(w, "window", time.Duration(s.window.Load()))
		if err := say.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		<-r.Context().Done()
	}
}
