package main

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
)

// server is one life of the server, from its ports to its end.
type server struct {
	options
	log      *slog.Logger
	logins   *logins
	listener *listener.TwoPhase
	agents   http.Server // on the public port
	admin    http.Server // on the private one
	end      func(net.Conn)
	serving  sync.WaitGroup
	failed   chan error // of Serve, when nobody has asked for it

	streams atomic.Int64
}

// newServer takes both ports. Agents are refused until open.
func newServer(ctx context.Context, o options, log *slog.Logger) (*server, error) {
	s := &server{options: o, log: log, logins: newLogins(o, log), failed: make(chan error, 2)}
	var err error
	// Who is at the door is bounded as well, logged in or not yet: more than enough for
	// the logins, so that the pacer can answer those who are too many.
	s.listener, err = listener.ListenTwoPhase(ctx, "tcp", o.private, o.public, listener.Limits{MaxPending: 10 * s.logins.pacer.MaxPending})
	if err != nil {
		return nil, err
	}
	const patience = 10 * time.Second
	s.agents = http.Server{Handler: s.public(), ConnState: listener.ConnState, ReadHeaderTimeout: patience}
	s.end = listener.HTTPEnd(&s.agents, 0)
	s.admin = http.Server{Handler: s.private(), ReadHeaderTimeout: patience}
	s.serve(&s.agents, s.listener.Public)
	s.serve(&s.admin, s.listener.Private)
	return s, nil
}

func (s *server) serve(srv *http.Server, l net.Listener) {
	s.serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	})
}

// open lets agents in, once the server has reached itself.
func (s *server) open(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.listener.Private.Addr().String()+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport.Transient()}).Do(req)
	if err != nil {
		return fmt.Errorf("own check: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	return s.listener.Open(ctx)
}

// moved is how long an agent waits before it connects to another replica.
const moved = 20 * time.Millisecond

// shutdown refuses newcomers and ends the streams. If the server is to come back, all
// agents are told at once when that is and come back in their window. If other replicas
// take the agents, they go at half the pace at which those can log them in.
func (s *server) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.grace)
	defer cancel()
	perSecond := math.Inf(1)
	if s.away == 0 {
		perSecond = float64(s.parallel) / s.loginTime.Seconds() / 2
	}
	s.log.Info("leaving", "streams", s.streams.Load(), "away", s.away, "window", s.announced(), "per second", perSecond)
	err := s.listener.Public.Drain(ctx, perSecond, s.end)
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Second) // nothing is left
	defer cancel()
	return errors.Join(err, s.agents.Shutdown(ctx), s.admin.Shutdown(ctx))
}

// close ends whatever is left.
func (s *server) close() {
	_ = errors.Join(s.agents.Close(), s.admin.Close(), s.listener.Close())
	s.serving.Wait()
}

func (s *server) public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", s.stream)
	return mux
}

func (s *server) private() http.Handler {
	vars := s.vars()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if state := s.listener.Public.State(); state != listener.Opened { // not yet open, or draining
			http.Error(w, state.String(), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /debug/vars", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, vars.String())
	})
	return mux
}

// vars is what the server counts. It is not published for the whole process, so that
// there can be two servers in one.
func (s *server) vars() *expvar.Map {
	vars := new(expvar.Map).Init()
	for name, f := range map[string]func() any{
		"streams":  func() any { return s.streams.Load() },
		"gate":     func() any { return s.listener.Gate.Stats() },
		"throttle": func() any { return s.listener.Public.Stats() },
		"pacer":    func() any { return s.logins.pacer.Stats() },
		"verdicts": func() any { return s.logins.verdicts.Stats() },
	} {
		vars.Set(name, expvar.Func(f))
	}
	return vars
}

// notice is what agents are told on their streams, a line of JSON each.
type notice struct {
	Away   time.Duration `json:"away"`   // until the server, or another replica, is there, if this one is about to leave
	Window time.Duration `json:"window"` // what all agents together need to come back
}

// announced is how long all agents need to come back.
func (s *server) announced() time.Duration {
	return max(s.window, s.logins.pacer.Window(int(s.streams.Load())))
}

// farewell is the last notice on a stream. Agents that go in pace need no wide window.
func (s *server) farewell() notice {
	if s.away == 0 {
		return notice{Away: moved, Window: s.window}
	}
	return notice{Away: s.away, Window: s.announced()}
}

// stream logs an agent in and holds its stream for as long as both live.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	user, err := s.logins.login(r)
	if err != nil {
		refuse(w, err)
		return
	}
	listener.AdmitContext(r.Context()) // its place at the door is free for the next
	s.streams.Add(1)
	defer s.streams.Add(-1)
	s.log.Debug("stream", "user", user)

	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	for {
		if tell(w, notice{Window: s.announced()}) != nil {
			return
		}
		select {
		case <-beat.C:
		case <-r.Context().Done():
			return
		case <-listener.Leaving(r.Context()):
			_ = tell(w, s.farewell())
			return
		}
	}
}

func tell(w http.ResponseWriter, n notice) error {
	if err := json.NewEncoder(w).Encode(n); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
