package dbpool

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// How the death of one connection is news of the others. A connection is watched for
// two times: when the last byte came, and when the first byte was sent that is not
// answered yet.
//
//	idle ──write──> asking ──read──> awaited ──any byte──> idle
//	                                    │
//	                                    └─ read ends by its deadline, or the driver
//	                                       closes the connection: nothing came
//
// Not all that is written is answered: a driver says farewell before it closes a
// connection, and MySQL's closes prepared statements. Only what the driver has begun
// to read an answer to, or could not send, is awaited.
//
// If nothing came over any connection to the address since then, those that are idle
// are closed. Their drivers fail at the next use before anything was sent.

const (
	// shortestSilence is the least time without a byte that counts. Linux sends a lost
	// packet again after 200 ms at the earliest, so a shorter one may be one packet.
	shortestSilence = 200 * time.Millisecond

	// dropInterval is the least time between two drops of idle connections to one
	// address, so that a host which answers now and then costs one redial a second.
	dropInterval = time.Second
)

// addresses are those that one dial function has dialed.
type addresses struct {
	mu    sync.Mutex // guards known
	known map[string]*address
}

// address is a server's address and its open connections.
type address struct {
	mu      sync.Mutex // guards the fields below, and those of each watched
	conns   map[*watched]struct{}
	heard   time.Time // when the last byte came, over any connection
	asked   time.Time // when the oldest request was sent that ended in silence since heard
	dropped time.Time
}

// watched is a connection that knows when it was asked and answered.
type watched struct {
	net.Conn
	addr  *address
	heard time.Time // when the last byte came; zero if none came yet
	asked time.Time // when the first byte was sent that is not answered; zero if idle
	ended bool      // closed, or dropped

	awaited bool // a Read or Write is under way, or a Read was begun since asked
}

// watchedSocket is one whose driver may look at the socket below, as MySQL's does
// before it uses a connection again.
type watchedSocket struct {
	*watched
	syscall.Conn
}

func (a *addresses) watch(conn net.Conn, name string) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	addr := a.known[name]
	if addr == nil {
		a.forgetLocked()
		addr = &address{conns: make(map[*watched]struct{})}
		a.known[name] = addr
	}
	w := &watched{Conn: conn, addr: addr}
	addr.mu.Lock()
	defer addr.mu.Unlock()
	addr.conns[w] = struct{}{}
	if socket, ok := conn.(syscall.Conn); ok {
		return watchedSocket{w, socket}
	}
	return w
}

// forgetLocked forgets addresses without connections: those of a service whose
// addresses change would add up.
func (a *addresses) forgetLocked() {
	for name, addr := range a.known {
		addr.mu.Lock()
		if len(addr.conns) == 0 {
			delete(a.known, name)
		}
		addr.mu.Unlock()
	}
}

// NetConn returns the connection below.
func (w *watched) NetConn() net.Conn { return w.Conn }

// Read notes when bytes came, and when none came in time.
func (w *watched) Read(b []byte) (int, error) {
	w.awaits(true)
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.answered()
	} else if timeout(err) {
		w.addr.drop(w.silent())
	}
	return n, err
}

// timeout reports whether a read has ended by its deadline, or because the system has
// given the connection up.
func timeout(err error) bool {
	var e net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

// Write sends nothing over a connection that was dropped.
func (w *watched) Write(b []byte) (int, error) {
	alive, awaited := w.asks()
	if !alive {
		return 0, net.ErrClosed
	}
	n, err := w.Conn.Write(b)
	if err == nil {
		w.awaits(awaited)
	}
	return n, err
}

// Close ends the connection. A driver that closes one in the middle of a request has
// given up waiting.
func (w *watched) Close() error {
	again, suspects := w.end()
	if again {
		return nil
	}
	w.addr.drop(suspects)
	return w.Conn.Close()
}

func (w *watched) answered() {
	now := time.Now()
	w.addr.mu.Lock()
	defer w.addr.mu.Unlock()
	w.heard, w.asked, w.awaited = now, time.Time{}, false
	w.addr.heard, w.addr.asked = now, time.Time{}
}

// asks notes that a request is being sent, and returns whether one was awaited before.
func (w *watched) asks() (alive, awaited bool) {
	w.addr.mu.Lock()
	defer w.addr.mu.Unlock()
	awaited = w.awaited && !w.asked.IsZero()
	if !awaited {
		w.asked = time.Now()
	}
	w.awaited = true
	return !w.ended, awaited
}

func (w *watched) awaits(answer bool) {
	w.addr.mu.Lock()
	defer w.addr.mu.Unlock()
	w.awaited = answer
}

// idle reports whether no answer is due: the driver has read it, or never began to.
func (w *watched) idle(now time.Time) bool {
	return w.asked.IsZero() || !w.awaited && now.Sub(w.asked) >= shortestSilence
}

func (w *watched) end() (again bool, suspects []*watched) {
	w.addr.mu.Lock()
	defer w.addr.mu.Unlock()
	if w.ended {
		return true, nil
	}
	w.ended = true
	delete(w.addr.conns, w)
	return false, w.addr.suspectLocked(w)
}

func (w *watched) silent() []*watched {
	w.addr.mu.Lock()
	defer w.addr.mu.Unlock()
	return w.addr.suspectLocked(w)
}

// suspectLocked returns the connections that are to be dropped because a request over
// w has ended in silence.
func (a *address) suspectLocked(w *watched) []*watched {
	if w.asked.IsZero() || !w.awaited || w.heard.IsZero() {
		return nil // nothing was asked, or it is a login, which says nothing about others
	}
	if a.heard.After(w.asked) {
		return nil // slow, and not dead
	}
	if a.asked.IsZero() || w.asked.Before(a.asked) {
		a.asked = w.asked
	}
	now := time.Now()
	if now.Sub(a.asked) < shortestSilence || !a.dropped.IsZero() && now.Sub(a.dropped) < dropInterval {
		return nil
	}
	var suspects []*watched
	for c := range a.conns {
		if c != w && c.idle(now) && !c.heard.IsZero() {
			c.ended = true
			delete(a.conns, c)
			suspects = append(suspects, c)
		}
	}
	if len(suspects) > 0 {
		a.dropped = now
	}
	return suspects
}

// drop closes connections.
func (a *address) drop(suspects []*watched) {
	for _, c := range suspects {
		_ = c.Conn.Close()
	}
}
