package transporttest

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// conns counts a server's connections and the requests that they carry.
type conns struct {
	mu       sync.Mutex // guards the fields below, and those of each conn
	all      []*conn
	open     map[net.Conn]*conn
	hijacked []net.Conn // taken over by handlers: the server forgets them
	closed   bool
	requests int
	inFlight int
	idle     *sync.Cond // told when inFlight falls
	peak     int        // most requests in flight at once
	calls    calls
}

// A conn is the record of one connection.
type conn struct {
	number   int
	state    http.ConnState
	requests int
	inFlight int
	first    request
	last     request
	asked    string // for its end: by the request or by the answer
}

// connKey finds the conn in the context of its requests.
type connKey struct{}

// opened is the server's ConnContext, which runs once for each connection.
func (s *conns) opened(ctx context.Context, c net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &conn{number: len(s.all) + 1}
	if s.open == nil {
		s.open = make(map[net.Conn]*conn)
	}
	s.all = append(s.all, added)
	s.open[c] = added
	return context.WithValue(ctx, connKey{}, added)
}

// changed is the server's ConnState.
func (s *conns) changed(c net.Conn, state http.ConnState) {
	if s.note(c, state) {
		_ = c.Close()
	}
}

// note reports whether the connection is to be closed: its handler took it over as
// the server closed, which knows of it no longer.
func (s *conns) note(c net.Conn, state http.ConnState) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.open[c]; known != nil {
		known.state = state
	}
	if state == http.StateClosed || state == http.StateHijacked {
		delete(s.open, c)
	}
	if state == http.StateHijacked {
		s.hijacked = append(s.hijacked, c)
	}
	return state == http.StateHijacked && s.closed
}

// close closes connections that handlers took over, and waits until no request is in flight.
func (s *conns) close() {
	s.mu.Lock()
	s.closed = true
	hijacked := s.hijacked
	s.mu.Unlock()
	for _, c := range hijacked {
		_ = c.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.inFlight > 0 {
		s.idle.Wait()
	}
}

// called is the Proxy of the server's client: it runs for each request on the
// goroutine of the caller, which net/http's other hooks do not.
func (s *conns) called(req *http.Request) (*url.URL, error) {
	fate, _ := req.Context().Value(fateKey{}).(*fate)
	from := call{callers(), fate}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls.add(cmp.Or(req.Method, http.MethodGet)+" "+req.URL.RequestURI(), from)
	return nil, nil
}

// count wraps the server's handler.
func (s *conns) count(handler http.Handler) http.Handler {
	if handler == nil {
		handler = http.DefaultServeMux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connKey{}).(*conn)
		s.began(c, r)
		defer func() { s.ended(c, w.Header()) }() // also if the handler panics
		handler.ServeHTTP(w, r)
	})
}

func (s *conns) began(c *conn, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.inFlight++
	s.peak = max(s.peak, s.inFlight)
	c.requests++
	c.inFlight++
	what := r.Method + " " + r.URL.RequestURI()
	c.last = request{what, s.calls.take(what)}
	if c.requests == 1 {
		c.first = c.last
	}
	if r.Close {
		c.asked = "the request asked for it (keep-alives are off, HTTP/1.0, or the connection was old enough)"
	}
}

func (s *conns) ended(c *conn, h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	c.inFlight--
	s.idle.Broadcast()
	if c.asked == "" && strings.EqualFold(h.Get("Connection"), "close") {
		c.asked = "the answer asked for it"
	}
}

func (s *conns) counts() (conns, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.requests
}
