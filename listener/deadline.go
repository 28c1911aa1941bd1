package listener

import (
	"net"
	"os"
	"sync"
	"time"
)

// wakes is a listener whose Accept a deadline in the past ends, as it does in package net.
type wakes interface {
	net.Listener
	SetDeadline(t time.Time) error
}

// wakeable makes l one. dropped is called for each connection that Close resets.
func wakeable(l net.Listener, dropped func()) wakes {
	if w, ok := l.(wakes); ok {
		return w
	}
	return &waker{Listener: l, got: make(chan result, 1), woken: make(chan struct{}), dropped: dropped}
}

// A waker is for a listener without deadlines. The Accept underneath runs in a goroutine,
// one at a time, and what it yields after a deadline is for the next Accept.
type waker struct {
	net.Listener
	got     chan result
	dropped func()

	mu      sync.Mutex    // guards the fields below
	taking  bool          // an Accept underneath is under way, or its result in got
	waiting int           // Accepts
	woken   chan struct{} // closed while the deadline is in the past
	past    bool
	done    bool
}

// unwoken returns the listener inside, if l is a waker.
func unwoken(l net.Listener) net.Listener {
	if w, ok := l.(*waker); ok {
		return w.Listener
	}
	return l
}

type result struct {
	conn net.Conn
	err  error
}

// Accept is that of the listener underneath, or fails with os.ErrDeadlineExceeded.
func (w *waker) Accept() (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	woken := w.woken
	w.waiting++
	w.takeLocked()
	w.mu.Unlock()
	select {
	case r := <-w.got:
		w.mu.Lock()
		w.waiting--
		w.taking = false
		w.takeLocked()
		return r.conn, r.err
	case <-woken:
		w.mu.Lock()
		w.waiting--
		return nil, os.ErrDeadlineExceeded
	}
}

// takeLocked begins an Accept underneath, if one is waited for.
func (w *waker) takeLocked() {
	if w.taking || w.waiting == 0 || w.done {
		return
	}
	w.taking = true
	go func() {
		c, err := w.Listener.Accept()
		w.got <- result{c, err} // has room
		w.mu.Lock()
		done := w.done
		w.mu.Unlock()
		if done {
			w.drop()
		}
	}()
}

// SetDeadline ends each Accept if t is past, and lets them wait otherwise.
func (w *waker) SetDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.done {
		w.setPastLocked(!t.IsZero() && !time.Now().Before(t))
	}
	return nil
}

func (w *waker) setPastLocked(past bool) {
	if past && !w.past {
		close(w.woken)
	} else if !past && w.past {
		w.woken = make(chan struct{})
	}
	w.past = past
}

// Close closes the listener underneath. A connection that it has yielded is reset.
func (w *waker) Close() error {
	w.mu.Lock()
	w.done = true
	w.setPastLocked(true)
	w.mu.Unlock()
	w.drop()
	return w.Listener.Close()
}

func (w *waker) drop() {
	select {
	case r := <-w.got:
		if r.conn != nil {
			w.dropped() // before the client knows
			reset(r.conn)
		}
	default:
	}
}
