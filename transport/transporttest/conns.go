package transporttest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// A book keeps account of connections and of the requests that they carry.
type book struct {
	mu     sync.Mutex // guards the fields below, and those of each connection
	all    []*connection
	open   map[net.Conn]*connection
	taken  []net.Conn // by handlers, which the server forgets
	closed bool
	served int
	flying int // requests in flight
	landed *sync.Cond
	peak   int // most of them at once
	calls  calls
}

// A connection is what the book knows of one.
type connection struct {
	number  int
	busy    int // requests in flight on others when it was opened
	state   http.ConnState
	carried int
	flying  int
	first   request
	last    request
	asked   string // who asked for its end
}

// A request is one that a handler was called for.
type request struct {
	number int
	what   string // such as "GET /"
	caller string // file:line, "" if unknown
}

func (r request) String() string {
	s := fmt.Sprintf("request %d, %s", r.number, r.what)
	if r.caller != "" {
		s += " (" + r.caller + ")"
	}
	return s
}

// connectionKey finds the connection in the context of its requests.
type connectionKey struct{}

// opened is the server's ConnContext, which runs once for each connection.
func (b *book) opened(ctx context.Context, conn net.Conn) context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &connection{number: len(b.all) + 1, busy: b.flying}
	if b.open == nil {
		b.open = make(map[net.Conn]*connection)
	}
	b.all = append(b.all, c)
	b.open[conn] = c
	return context.WithValue(ctx, connectionKey{}, c)
}

// changed is the server's ConnState.
func (b *book) changed(conn net.Conn, state http.ConnState) {
	if b.note(conn, state) {
		_ = conn.Close()
	}
}

// note reports whether the connection is to be closed: its handler took it over as
// the server closed, which knows of it no longer.
func (b *book) note(conn net.Conn, state http.ConnState) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.open[conn]; c != nil {
		c.state = state
	}
	if state == http.StateClosed || state == http.StateHijacked {
		delete(b.open, conn)
	}
	if state == http.StateHijacked {
		b.taken = append(b.taken, conn)
	}
	return state == http.StateHijacked && b.closed
}

// close closes what handlers took over, and waits until no request is in flight.
func (b *book) close() {
	b.mu.Lock()
	b.closed = true
	taken := b.taken
	b.mu.Unlock()
	for _, conn := range taken {
		_ = conn.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.flying > 0 {
		b.landed.Wait()
	}
}

// called is the Proxy of the server's client: it runs for each request on the
// goroutine of who sends it, which net/http's other hooks do not.
func (b *book) called(req *http.Request) (*url.URL, error) {
	at := caller()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.add(cmp.Or(req.Method, http.MethodGet)+" "+req.URL.RequestURI(), at)
	return nil, nil
}

// count wraps the server's handler.
func (b *book) count(handler http.Handler) http.Handler {
	if handler == nil {
		handler = http.DefaultServeMux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connectionKey{}).(*connection)
		b.began(c, r)
		defer func() { b.ended(c, w.Header()) }() // also if the handler panics
		handler.ServeHTTP(w, r)
	})
}

func (b *book) began(c *connection, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served++
	b.flying++
	b.peak = max(b.peak, b.flying)
	c.carried++
	c.flying++
	what := r.Method + " " + r.URL.RequestURI()
	c.last = request{b.served, what, b.calls.take(what)}
	if c.carried == 1 {
		c.first = c.last
	}
	if r.Close {
		c.asked = "that request asked for it (keep-alives are off, HTTP/1.0, or the connection was old enough)"
	}
}

func (b *book) ended(c *connection, h http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying--
	c.flying--
	b.landed.Broadcast()
	if c.asked == "" && strings.EqualFold(h.Get("Connection"), "close") {
		c.asked = "the answer asked for it"
	}
}

func (b *book) conns() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

func (b *book) requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served
}

// listed connections are named in a report.
const listed = 10

// report says why there are more connections than most, and nothing if there
// are not.
func (b *book) report(most int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) <= most {
		return ""
	}
	var s strings.Builder
	fmt.Fprintf(&s, "transporttest: %d connections for %d requests, want at most %d", len(b.all), b.served, most)
	for i, c := range b.all {
		if i == listed {
			fmt.Fprintf(&s, "\n\tand %d more", len(b.all)-listed)
			break
		}
		fmt.Fprintf(&s, "\n\tconnection %d", c.number)
		if c.busy > 0 {
			fmt.Fprintf(&s, ", opened while others were busy with %d", c.busy)
		}
		s.WriteString(": " + b.storyLocked(c))
	}
	return s.String()
}

func (b *book) storyLocked(c *connection) string {
	if c.carried == 0 {
		return "no request, which had found another connection before this one was ready"
	}
	s := c.first.String()
	if c.carried > 1 {
		s += fmt.Sprintf(", and %d more up to %v", c.carried-1, c.last)
	}
	return s + "; " + b.endLocked(c)
}

func (b *book) endLocked(c *connection) string {
	switch {
	case c.state == http.StateHijacked:
		return "then taken over by its handler"
	case c.state != http.StateClosed && c.flying > 0:
		return "still busy"
	case c.state != http.StateClosed:
		return "open and idle"
	case c.asked != "":
		return "then closed: " + c.asked
	}
	s := fmt.Sprintf("then closed by the client: the body of answer %d was not read to EOF before Close, or its context ended", c.last.number)
	if b.peak > 1 {
		s += ", or more connections were idle than the client keeps (MaxIdleConnsPerHost)"
	}
	return s
}
