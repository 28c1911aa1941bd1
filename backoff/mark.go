package backoff

import "time"

// Permanent marks err as one that no further attempt can cure, such as bad
// credentials: [Retry], [Do] and [Backoff.Next] stop with [ErrPermanent], also after a
// stable session. The mark may be wrapped: the text around it survives, as the
// mark adds none of its own. Permanent(nil) is nil.
//
// The mark stays in the error that Retry returns: if one loop runs within another, a
// permanent error of the inner one stops the outer one as well. Wrap it with %v instead
// of %w where that is not wanted.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// After marks err with the wait that its server asked for: come back in d. The next wait is d,
// at most Policy.MaxHint, plus up to a second of jitter. If d is zero or negative
// there is no hint and the result is err; a huge d is kept as it is, since MaxHint
// caps it. After(d, nil) is nil.
func After(d time.Duration, err error) error {
	if err == nil || d <= 0 {
		return err
	}
	return &hintedError{err, d}
}

// Hint returns the wait that a server asked for: the first positive RetryAfter in err's tree,
// which has the order of [errors.As]. It is asked of every error with a method
// RetryAfter() time.Duration, as those made by [After] and [*BusyError] have. Hint
// reports whether there is one; zero and less ask for nothing.
func Hint(err error) (time.Duration, bool) {
	switch e := err.(type) {
	case hinter:
		if d := e.RetryAfter(); d > 0 {
			return d, true
		}
		return hintInside(err)
	case wrapper, joiner:
		return hintInside(err)
	}
	return 0, false // most errors: one look at their type
}

func hintInside(err error) (time.Duration, bool) {
	switch e := err.(type) {
	case wrapper:
		return Hint(e.Unwrap())
	case joiner:
		for _, err := range e.Unwrap() {
			if d, ok := Hint(err); ok {
				return d, true
			}
		}
	}
	return 0, false
}

type (
	hinter  interface{ RetryAfter() time.Duration }
	wrapper interface{ Unwrap() error }
	joiner  interface{ Unwrap() []error }
)

type permanentError struct{ err error }

func (e *permanentError) Error() string        { return e.err.Error() }
func (e *permanentError) Unwrap() error        { return e.err }
func (e *permanentError) Is(target error) bool { return target == ErrPermanent }

type hintedError struct {
	err   error
	after time.Duration
}

func (e *hintedError) Error() string             { return e.err.Error() }
func (e *hintedError) Unwrap() error             { return e.err }
func (e *hintedError) RetryAfter() time.Duration { return e.after }

// unmark takes the outermost mark off. A mark further inside stays: to take it off
// would lose the text around it (cenkalti/backoff#123).
func unmark(err error) error {
	switch e := err.(type) {
	case *permanentError:
		return e.err
	case *hintedError:
		return e.err
	}
	return err
}
