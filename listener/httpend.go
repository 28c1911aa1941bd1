package listener

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const defaultHTTPGrace = time.Second

// HTTPEnd prepares srv, before it serves, for connections that are ended one by one,
// and returns the end function for [Throttled.Drain], [Throttled.Rebalance] and
// Limits.End. Handlers need not know of it:
//
//   - The next answer on the connection says Connection: close, after which HTTP/1 closes
//     it; HTTP/2 sends GOAWAY, finishes the streams that are open, and closes it.
//   - A connection without a request for grace is closed then. Zero means 1s, negative
//     at once. A request that its client sends at just that moment fails, unless the
//     client repeats it, so let grace be longer than the usual time between requests.
//   - A request that is being answered is finished, however long that takes, until the
//     context of Drain ends. The handler of a stream looks at [Leaving].
//   - A hijacked connection, such as a WebSocket, is closed after grace. Its handler
//     looks at Leaving to send a close frame before.
//
// HTTPEnd wraps srv's Handler, ConnContext and ConnState; it includes [ConnContext],
// and calls the functions that were set. srv serves one Throttled, or several. HTTPEnd panics
// if srv is nil.
func HTTPEnd(srv *http.Server, grace time.Duration) (end func(net.Conn)) {
	if srv == nil {
		panic("listener: HTTPEnd with nil server")
	}
	if grace == 0 {
		grace = defaultHTTPGrace
	}
	e := &httpEnds{grace: max(grace, 0), conns: make(map[net.Conn]*httpConn)}
	handler := srv.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(httpKey{}).(*httpConn); ok && e.isLeaving(c) {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
	connContext, connState := srv.ConnContext, srv.ConnState
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		ctx = context.WithValue(ConnContext(ctx, c), httpKey{}, e.add(c))
		if connContext != nil {
			ctx = connContext(ctx, c)
		}
		return ctx
	}
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		if connState != nil {
			connState(c, s)
		}
		e.state(c, s)
	}
	return e.end
}

type httpKey struct{}

// httpEnds is the connections of one server, by the innermost, which is the same for
// the server and for Drain.
type httpEnds struct {
	grace time.Duration

	mu    sync.Mutex // guards the fields below, and those of each httpConn
	conns map[net.Conn]*httpConn
}

// httpConn is a connection that the server has not closed, and no handler hijacked; or
// one that was told to end and is not the server's: not yet, or hijacked before.
type httpConn struct {
	net.Conn // as the server has it, with TLS
	busy     bool
	leaving  bool
	due      *time.Timer // closes it, if it is idle; nil unless it is leaving
}

func (e *httpEnds) add(c net.Conn) *httpConn {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := innermost(c)
	h := e.conns[key]
	if h == nil {
		h = new(httpConn)
		e.conns[key] = h
	}
	h.Conn = c
	return h
}

func (e *httpEnds) isLeaving(h *httpConn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return h.leaving
}

// state follows http.Server.ConnState.
func (e *httpEnds) state(c net.Conn, s http.ConnState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := innermost(c)
	h := e.conns[key]
	if h == nil {
		return
	}
	switch s {
	case http.StateActive:
		h.busy = true
	case http.StateIdle:
		h.busy = false
		if h.leaving {
			h.due.Reset(e.grace)
		}
	case http.StateHijacked:
		delete(e.conns, key)
		h.busy = false
		if h.leaving {
			h.due.Reset(e.grace)
		}
	case http.StateClosed:
		delete(e.conns, key)
		if h.leaving {
			h.due.Stop()
		}
	}
}

// end is for Drain.
func (e *httpEnds) end(c net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := innermost(c)
	h := e.conns[key]
	if h == nil { // hijacked, or on its way to the server, which then answers one request
		h = &httpConn{Conn: c}
		e.conns[key] = h
	}
	if !h.leaving {
		h.leaving = true
		h.due = time.AfterFunc(e.grace, func() { e.closeIdle(key, h) })
	}
}

// closeIdle closes a connection that has had its time, unless it is in use: then
// StateIdle gives it the time again.
func (e *httpEnds) closeIdle(key net.Conn, h *httpConn) {
	e.mu.Lock()
	busy, c := h.busy, h.Conn
	if !busy && e.conns[key] == h {
		delete(e.conns, key)
	}
	e.mu.Unlock()
	if !busy {
		_ = c.Close()
	}
}
