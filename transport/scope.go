package transport

import (
	"context"
	"sync"
	"time"
)

// errTimeout is why Timeout ends an exchange.
var errTimeout = context.DeadlineExceeded

// A scope is the context of one exchange: that of the caller's request, with an
// end and httptrace hooks of its own. Both are made only if somebody asks.
type scope struct {
	parent  context.Context
	trace   context.Context // answers for httptrace and nothing else; nil if parent has the hooks
	endings *endings        // nil if they cannot be used again

	mu       sync.Mutex // guards the fields below
	ending   *ending
	err      error // why it ended before its parent did
	timer    *time.Timer
	deadline time.Time
}

var _ context.Context = (*scope)(nil)

// Deadline returns the earlier of the caller's and Timeout's.
func (s *scope) Deadline() (time.Time, bool) {
	d, ok := s.parent.Deadline()
	s.mu.Lock()
	defer s.mu.Unlock()
	if own := s.deadline; !own.IsZero() && (!ok || own.Before(d)) {
		return own, true
	}
	return d, ok
}

func (s *scope) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endingLocked().ctx.Done()
}

func (s *scope) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	return s.parent.Err()
}

// Value asks the ending first, so that package context finds its own kind there
// and links contexts made from this one without a goroutine.
func (s *scope) Value(key any) any {
	s.mu.Lock()
	e := s.ending
	s.mu.Unlock()
	if e != nil {
		if v := e.ctx.Value(key); v != nil {
			return v
		}
	}
	if v := s.parent.Value(key); v != nil || s.trace == nil {
		return v
	}
	return s.trace.Value(key)
}

func (s *scope) endingLocked() *ending {
	if s.ending != nil {
		return s.ending
	}
	if s.endings != nil {
		s.ending = s.endings.take(s.parent)
	} else {
		s.ending = newEnding(s.parent)
	}
	if s.err != nil {
		s.ending.end(s.err) // too late to have children
	}
	return s.ending
}

// endIn arms Timeout.
func (s *scope) endIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = time.Now().Add(d)
	s.timer = time.AfterFunc(d, func() { s.end(errTimeout) })
}

// disarm stops the clock and leaves the rest as it is.
func (s *scope) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disarmLocked()
}

func (s *scope) disarmLocked() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.deadline = time.Time{}
}

// end ends the scope, unless it has ended.
func (s *scope) end(cause error) {
	s.mu.Lock()
	s.disarmLocked()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = context.Canceled
	if cause == errTimeout {
		s.err = cause
	}
	e := s.ending
	s.mu.Unlock()
	if e != nil {
		e.end(cause)
	}
}

// finish frees what the scope holds, once its exchange is over and nothing waits
// for Done any more. If the answer was read to the end, the ending serves another
// exchange.
//
// That is right for an *http.Transport: nothing of it heeds this context any more,
// so that a later end of the other exchange finds nobody here. The scope keeps
// pointing to the ending, because the transport may unlink its own context from it
// a moment later.
func (s *scope) finish(read bool) {
	s.mu.Lock()
	if !read || s.endings == nil || s.err != nil || s.ending == nil {
		s.mu.Unlock()
		s.end(context.Canceled)
		return
	}
	s.disarmLocked()
	s.err = context.Canceled
	e := s.ending
	s.mu.Unlock()
	s.endings.put(e)
}

// timedOut reports whether Timeout ended the scope.
func (s *scope) timedOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == errTimeout
}

// ended reports whether end or finish was called.
func (s *scope) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}
