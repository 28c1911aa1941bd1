package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
)

// life is what a server begins with.
type life struct {
	auth   authStep
	limits listener.Limits // of the public port, and only that: the server reaches itself through a private one
	window time.Duration   // announced to each agent; 0 is none
}

// server is one life of the server: from bind to kill.
type server struct {
	life
	gate   *listener.Gate
	public net.Listener // gate within its limits
	http   *http.Server
	meter  *meter
	closed sync.WaitGroup // Serve has returned

	notice    chan struct{} // closed by announce, after text is set
	text      string
	streaming sync.WaitGroup // streams that have not yet written the notice
}

// newServer binds the place; clients wait until the gate is opened.
func newServer(ctx context.Context, p place, m *meter, l life) (*server, error) {
	gate, err := p.bind(ctx)
	if err != nil {
		return nil, err
	}
	private, err := p.private(ctx)
	if err != nil {
		return nil, errors.Join(err, gate.Close())
	}
	s := &server{life: l, gate: gate, public: throttled(gate, l.limits), meter: m, notice: make(chan struct{})}
	s.http = &http.Server{
		Handler:           s.routes(),
		ConnContext:       listener.ConnContext,
		ReadHeaderTimeout: time.Minute,
	}
	both := listener.Merge(private, s.public)
	s.closed.Go(func() { _ = s.http.Serve(both) })
	return s, nil
}

// throttled leaves the gate alone when there is nothing to limit.
func throttled(gate *listener.Gate, limits listener.Limits) net.Listener {
	if limits.MaxPending == 0 && limits.Rate == 0 {
		return gate
	}
	return listener.Throttle(gate, limits)
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /stream", s.stream)
	return mux
}

// stream authenticates an agent and holds its stream for as long as both live.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	s.meter.arrived()
	if err := s.auth.check(r.Context(), r.Header.Get("Authorization")); err != nil {
		s.turnAway(w, err)
		return
	}
	listener.AdmitContext(r.Context())
	s.streaming.Add(1)
	defer s.streaming.Done()
	if s.window > 0 {
		w.Header().Set(windowHeader, strconv.FormatInt(s.window.Milliseconds(), 10))
	}
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	select {
	case <-r.Context().Done():
	case <-s.notice:
		fmt.Fprintln(w, s.text)
		_ = http.NewResponseController(w).Flush() // before announce believes that it was told
	}
}

// turnAway answers an agent that cannot be told yes or no: 503, never 401, and
// when to come back if the auth step knows.
func (s *server) turnAway(w http.ResponseWriter, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		s.meter.timedOut()
	}
	if d, ok := backoff.Hint(err); ok {
		transport.SetRetryAfter(w.Header(), d)
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// check is what a controller does before it lets its agents in: it reaches
// itself, through the port that no agent can crowd.
func (s *server) check(ctx context.Context, p place) error {
	t := transport.Transient()
	t.DialContext = p.dial
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+privateHost+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return fmt.Errorf("own check: %w", err)
	}
	return resp.Body.Close()
}

// announce tells all streams that the server will restart, and ends them once
// each has been told.
func (s *server) announce(text string) {
	s.text = text
	close(s.notice)
	s.streaming.Wait()
}

// kill ends the server as a crash would: no notice, every connection cut.
func (s *server) kill() error {
	err := s.http.Close()
	s.closed.Wait()
	return err
}

// figures is what the packages in the server have counted, a line each.
func (s *server) figures() []string {
	lines := []string{fmt.Sprintf("listener: %d accepted", s.gate.Stats().Accepted)}
	if t, ok := s.public.(*listener.Throttled); ok {
		stats := t.Stats()
		lines[0] += fmt.Sprintf(", %d had left the line, %d pending places expired", stats.Corpses, stats.PendingExpired)
	}
	if counted := s.auth.String(); counted != "" {
		lines = append(lines, counted)
	}
	return lines
}
