package transport

import (
	"crypto/tls"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxConns bounds what is remembered of connections whose end goes unnoticed.
const maxConns = 1 << 14

// conns remembers the connections that httptrace has shown, by their address in
// memory. One that is of net's or tls's own type, as nearly all are, is forgotten
// when it is collected. The address of another may come to stand for a later
// connection, which is then shown as not reused and starts anew.
type conns struct {
	clock atomic.Uint64 // counts events, and so orders them

	mu    sync.RWMutex // guards the field below, and those of each conn
	known map[connKey]*conn
}

// A connKey stands for a connection; zero for none.
type connKey struct {
	pointer   uintptr
	addresses string // of a connection that is no pointer
}

// A conn is the record of one connection.
type conn struct {
	key      connKey
	heard    atomic.Uint64 // when it was opened, or last brought a byte of an answer, by the clock of conns
	inFlight atomic.Int32  // requests on it

	due      time.Time // when it is to be retired; zero for never
	counted  bool      // as retired
	retiring bool      // a request is about to end it
}

// now returns a time that is later than all before.
func (s *conns) now() uint64 { return s.clock.Add(1) }

// find returns the record of a connection, and whether it was known before;
// nil stands for a connection that cannot be told from others. Its age begins at
// the first sight.
func (s *conns) find(c net.Conn, fresh bool, life func() time.Duration) (found *conn, known bool) {
	key := keyOf(c)
	if key == (connKey{}) {
		return nil, false
	}
	if !fresh {
		s.mu.RLock()
		found = s.known[key]
		s.mu.RUnlock()
		if found != nil {
			return found, true
		}
	}
	found = &conn{key: key}
	found.heard.Store(s.now())
	if d := life(); d > 0 {
		found.due = time.Now().Add(d)
	}
	s.add(found)
	switch c := c.(type) {
	case *net.TCPConn:
		runtime.AddCleanup(c, s.forget, found)
	case *tls.Conn:
		runtime.AddCleanup(c, s.forget, found)
	case *net.UnixConn:
		runtime.AddCleanup(c, s.forget, found)
	}
	return found, false
}

func (s *conns) add(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[connKey]*conn)
	}
	if len(s.known) >= maxConns {
		for other := range s.known {
			delete(s.known, other) // an old connection may live once more as long
			break
		}
	}
	s.known[c.key] = c
}

func (s *conns) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[c.key] == c {
		delete(s.known, c.key)
	}
}

func keyOf(c net.Conn) connKey {
	switch v := reflect.ValueOf(c); v.Kind() {
	case reflect.Invalid:
		return connKey{}
	case reflect.Pointer:
		return connKey{pointer: v.Pointer()}
	}
	return connKey{addresses: fmt.Sprint(c.LocalAddr(), " ", c.RemoteAddr())}
}
