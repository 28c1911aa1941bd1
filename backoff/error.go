package backoff

import (
	"errors"
	"fmt"
)

// ErrExhausted is the Cause of an [Error] when MaxAttempts or MaxElapsed of the
// Policy left no room for another attempt.
var ErrExhausted = errors.New("backoff: exhausted")

// ErrPermanent is the Cause of an [Error] when a failure was marked by [Permanent].
// Such a failure matches it in [errors.Is].
var ErrPermanent = errors.New("backoff: permanent failure")

var errStopped = errors.New("backoff: stopped")

// Error says why there is no further attempt, and the error of the last one.
// [errors.Is] and [errors.As] find both.
type Error struct {
	// Attempts is how many attempts were begun: calls of the function, or results
	// true of Next since the first or since Reset.
	Attempts int

	// Last is the error of the last attempt, without its outermost mark. It is nil
	// if there was none, or if the last session ended without an error.
	Last error

	// Cause is [ErrExhausted], [ErrPermanent], or the cause of the end of the context
	// as [context.Cause] has it. It is [context.DeadlineExceeded] also before
	// the deadline, if the wait could not have ended before.
	Cause error

	ended error // ctx.Err(), which Cause need not wrap
}

// Error is the Cause, the number of attempts and the last error in one line.
func (e *Error) Error() string {
	why, noun := e.Cause, "attempts"
	if e.Attempts == 1 {
		noun = "attempt"
	}
	if e.Last == nil {
		return fmt.Sprintf("%v after %d %s", why, e.Attempts, noun)
	}
	if e.ended != nil && errors.Is(e.Last, e.Cause) {
		why = errStopped // Last says why
	}
	return fmt.Sprintf("%v after %d %s: %v", why, e.Attempts, noun, e.Last)
}

// Unwrap returns Last, Cause and the context's own error, those of them that there are.
func (e *Error) Unwrap() []error {
	all := make([]error, 0, 3)
	for _, err := range []error{e.Last, e.Cause, e.ended} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}
