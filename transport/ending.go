package transport

import (
	"context"
	"sync"
)

// An ending is what the standard library makes of a context that can be ended.
// Five allocations make one, so one that was never used serves another exchange.
type ending struct {
	ctx    context.Context
	cancel context.CancelCauseFunc

	parent context.Context // ends ctx as well; nil for none
	done   <-chan struct{} // parent's
	follow func()          // ends ctx as parent has ended
	unlink func() bool     // reports whether that has not happened
}

func newEnding(parent context.Context) *ending {
	ctx, cancel := context.WithCancelCause(parent)
	return &ending{ctx: ctx, cancel: cancel}
}

func (e *ending) link(parent context.Context) {
	if e.follow == nil {
		e.follow = func() { e.cancel(context.Cause(e.parent)) }
	}
	e.parent, e.done = parent, parent.Done()
	e.unlink = context.AfterFunc(parent, e.follow)
	e.check(parent)
}

// check ends e if parent has ended: follow runs a moment later, and nothing may be
// sent until then.
func (e *ending) check(parent context.Context) {
	if parent.Err() != nil {
		e.cancel(context.Cause(parent))
	}
}

func (e *ending) end(cause error) {
	e.cancel(cause)
	if e.unlink != nil {
		e.unlink()
	}
}

// Endings are those that wait for an exchange. A link to a context costs two
// allocations; for a context that came twice in a row, one is kept.
type endings struct {
	loose sync.Pool // of *ending, without a parent

	mu   sync.Mutex
	last <-chan struct{} // of the context that came last
	kept *ending         // linked to what may come again; nil for none
}

// take returns an ending that ends when parent does.
func (s *endings) take(parent context.Context) *ending {
	done := parent.Done()
	if done != nil {
		switch e := s.swap(nil); {
		case e == nil:
		case e.done == done:
			e.check(parent)
			return e
		default:
			s.loosen(e)
		}
	}
	e, _ := s.loose.Get().(*ending)
	if e == nil {
		e = newEnding(context.Background())
	}
	if done != nil {
		e.link(parent)
	}
	return e
}

// put takes back an ending that was not used.
func (s *endings) put(e *ending) {
	if e.done == nil {
		s.loose.Put(e)
		return
	}
	if s.again(e.done) {
		e = s.swap(e)
	}
	if e != nil {
		s.loosen(e)
	}
}

func (s *endings) again(done <-chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.last
	s.last = done
	return was == done
}

func (s *endings) swap(e *ending) *ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, s.kept = s.kept, e
	return e
}

// loosen separates e from its parent, for others to use, unless it has ended.
func (s *endings) loosen(e *ending) {
	if e.unlink() && e.ctx.Err() == nil {
		e.parent, e.done, e.unlink = nil, nil, nil
		s.loose.Put(e)
	}
}
