package dbpooltest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// DSN returns a data source name for drivers of PostgreSQL, which leads to s over the
// loopback interface:
//
//	db, err := sql.Open("postgres", srv.DSN(t)) // or "pgx", or pgxpool.New
//
// Each call listens on an address of its own. When the test ends, so do the listener
// and all connections.
func (s *Server) DSN(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("dbpooltest: %v", err)
	}
	f := &front{server: s, listener: l, sessions: make(map[*session]struct{})}
	f.wg.Go(f.serve)
	tb.Cleanup(f.close)
	return fmt.Sprintf("postgres://user:password@%s/postgres?sslmode=disable", l.Addr())
}

// Dial returns a connection in memory to s that speaks PostgreSQL's protocol. The address
// is ignored. It is for the dial function of a driver, such as pgx's
// Config.DialFunc, and works inside a testing/synctest bubble. A goroutine serves the
// connection until its client closes it, or until [Server.Kill]. It returns ctx's error
// if ctx has ended.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dbpooltest: dial: %w", err)
	}
	client, server := net.Pipe()
	go newSession(s, server).serve()
	return client, nil
}

// front is what listens for one DSN.
type front struct {
	server   *Server
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	sessions map[*session]struct{}
	closed   bool
}

// serve accepts connections until the listener is closed.
func (f *front) serve() {
	for {
		nc, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if w := newSession(f.server, nc); f.add(w) {
			f.wg.Go(func() {
				w.serve()
				f.mu.Lock()
				defer f.mu.Unlock()
				delete(f.sessions, w)
			})
		}
	}
}

// add remembers a session for close, and ends it if it comes too late.
func (f *front) add(w *session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		w.end()
		return false
	}
	f.sessions[w] = struct{}{}
	return true
}

// close ends everything and waits for it.
func (f *front) close() {
	_ = f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for w := range f.sessions {
		w.end()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// backendKey is what a client shows to cancel a query.
type backendKey struct{ pid, secret uint32 }

// The codes of what a client may send instead of a version.
const (
	protocol3     = 3 // the major version
	cancelRequest = 80877102
	tlsRequest    = 80877103
	gssRequest    = 80877104
)

// serve is the life of one connection over the wire. It closes the connection.
func (w *session) serve() {
	in := bufio.NewReader(w.nc)
	gone, cancel := context.WithCancel(context.Background())
	defer func() {
		cancel()
		_ = w.nc.Close()
		for range w.messages { // until the reader has ended
		}
	}()
	if !w.startup(in) {
		close(w.messages)
		return
	}
	go func() {
		defer close(w.messages)
		defer cancel()
		for {
			m, err := readMessage(in)
			if err != nil {
				return
			}
			select {
			case w.messages <- m:
			case <-gone.Done():
				return
			}
		}
	}()
	w.run(gone)
}

// startup reads what comes before the first message, and reports whether it was a
// login. A cancel request is done here.
func (w *session) startup(in *bufio.Reader) bool {
	for {
		body, err := readBody(in)
		if err != nil || len(body) < 4 {
			return false
		}
		switch code := binary.BigEndian.Uint32(body); {
		case code == tlsRequest || code == gssRequest:
			if _, err := w.nc.Write([]byte{'N'}); err != nil {
				return false
			}
		case code == cancelRequest && len(body) == 12:
			w.server.cancel(backendKey{binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:])})
			return false
		case code>>16 == protocol3:
			return true
		default:
			w.out.fail(&Error{"0A000", fmt.Sprintf("unsupported frontend protocol %d.%d", code>>16, code&0xffff)})
			_ = w.flush()
			return false
		}
	}
}

// cancel cancels the query of a session, if there is one.
func (s *Server) cancel(key backendKey) {
	s.mu.Lock()
	cancel := s.keys[key]
	s.mu.Unlock()
	if cancel != nil && !s.NoCancel {
		cancel()
	}
}

// run logs the client in and serves it until it leaves, or the connection is killed.
func (w *session) run(gone context.Context) {
	c, err := w.server.connect(gone)
	if err != nil {
		w.out.fail(err)
		_ = w.flush()
		return
	}
	w.conn = c
	defer c.Close()
	key := w.server.register(w)
	defer w.server.forget(key)
	w.welcome(key)
	for {
		select {
		case <-c.silent: // nothing is answered any more; the client may close
			for range w.messages {
			}
			return
		case <-c.dead:
			w.farewell()
			return
		case m, open := <-w.messages:
			if !open || m.kind == 'X' || !w.gone() && !w.handle(m) {
				return
			}
		}
	}
}

// farewell tells the client that an operator has ended its connection, if the client
// cares to read it.
func (w *session) farewell() {
	_ = w.nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	w.out.fail(errKilled)
	_ = w.flush()
}

// register makes a session's query known to cancel requests.
func (s *Server) register(w *session) backendKey {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	key := backendKey{binary.BigEndian.Uint32(random[:]) >> 1, binary.BigEndian.Uint32(random[4:])}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[backendKey]func())
	}
	s.keys[key] = w.cancelQuery
	return key
}

func (s *Server) forget(key backendKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, key)
}
