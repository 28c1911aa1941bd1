package backoff

import (
	"context"
	"math"
	"time"
)

// A streak is failures in a row. It has no lock, so that the one of Retry stays on the
// stack.
type streak struct {
	failures int
	began    time.Time     // the first
	lost     time.Time     // the last
	last     error         // of the last, without its outermost mark
	hint     time.Duration // of the last; 0: none
}

func (s *streak) add(err error, hint time.Duration, now time.Time) {
	s.lost = now
	if s.failures == 0 {
		s.began = s.lost
	}
	if s.failures < math.MaxInt {
		s.failures++
	}
	s.last, s.hint = unmark(err), hint
}

// scheduled is the wait that p wants, for a draw u.
func (s *streak) scheduled(p *Policy, u float64) time.Duration { return p.delay(s.failures, u) }

// hinted is the wait that the hint wants, for a draw u. Hints are whole seconds as a
// rule, and without jitter a fleet would march in step and need 1.35 times as long. The
// jitter is that of the hint as it was asked for: a fleet with a small MaxHint is cut
// to one and the same wait, and needs it most.
func (s *streak) hinted(p *Policy, u float64) time.Duration {
	h := min(s.hint, p.mostHint())
	return h + min(portion(min(s.hint, time.Second), u), forever-h)
}

// ending returns why there is no room for a wait of d and an attempt after it; its zero
// value if there is room.
func (s *streak) ending(l limit, p *Policy, d time.Duration) ending {
	switch {
	case l.ending.cause != nil:
		return l.ending
	case p.MaxAttempts > 0 && s.failures >= p.MaxAttempts:
		return ending{cause: ErrExhausted} // whatever the deadline: there is no wait
	case l.timed && d >= time.Until(l.deadline):
		return ending{cause: context.DeadlineExceeded}
	case s.failures > 0 && p.MaxElapsed > 0 && d >= p.MaxElapsed-time.Since(s.began):
		return ending{cause: ErrExhausted}
	}
	return ending{}
}

// An ending is why there is no further attempt; its zero value says that there is one.
type ending struct {
	cause error // as in Error
	ended error // the context's own, if it is done
}

func endingOf(ctx context.Context) ending {
	if err := ctx.Err(); err != nil {
		return ending{context.Cause(ctx), err}
	}
	return ending{}
}

// limit is what a context allows, read before a lock is taken.
type limit struct {
	ending   ending
	deadline time.Time
	timed    bool
}

func limitOf(ctx context.Context) limit {
	deadline, ok := ctx.Deadline()
	return limit{endingOf(ctx), deadline, ok}
}

// sleeper is a timer for one goroutine, made when it is needed and used again.
type sleeper struct{ timer *time.Timer }

// sleep waits for d, for ctx or for a value from wake, and reports whether it was wake.
func (s *sleeper) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	if d <= 0 {
		return false
	}
	s.set(d)
	return s.await(ctx, wake)
}

func (s *sleeper) set(d time.Duration) {
	if s.timer == nil {
		s.timer = time.NewTimer(d)
		return
	}
	s.timer.Reset(d)
}

// await is sleep after set. A timer that has fired needs no Stop, and a select of two
// cases is quicker than one of three.
func (s *sleeper) await(ctx context.Context, wake <-chan struct{}) bool {
	for wake != nil {
		select {
		case <-s.timer.C:
			return false
		case <-ctx.Done():
			s.timer.Stop()
			return false
		case _, ok := <-wake:
			if ok {
				s.timer.Stop()
				return true
			}
			wake = nil // closed
		}
	}
	select {
	case <-s.timer.C:
	case <-ctx.Done():
		s.timer.Stop()
	}
	return false
}
