package backoff

import "context"

// Retry calls op until it succeeds and returns its result. Between two calls it waits
// what p says, or what the server asked for in a hint, see [After]. All errors
// are retried but those marked by [Permanent].
//
// If there is no success the error is an [*Error] with the last error of op in it,
// and the result is the zero T. If ctx is done, op is not called at all. A wait
// that could not end before ctx's deadline is not begun.
//
// op gets ctx as it is: an op that may hang should limit each attempt by a
// [context.WithTimeout] of its own.
func Retry[T any](ctx context.Context, p Policy, op func(context.Context) (T, error)) (T, error) {
	var zero T
	if e := endingOf(ctx); e.cause != nil {
		return zero, &Error{Cause: e.cause, ended: e.ended}
	}
	v, err := op(ctx)
	if err == nil {
		return v, nil // nothing above has paid for a Backoff
	}
	b := Backoff{Policy: p, attempts: 1}
	for b.Fail(err); b.Next(ctx); b.Fail(err) {
		if v, err = op(ctx); err == nil {
			return v, nil
		}
	}
	return zero, b.Err()
}

// Do is [Retry] for an op that has no result but its error.
func Do(ctx context.Context, p Policy, op func(context.Context) error) error {
	_, err := Retry(ctx, p, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) })
	return err
}
