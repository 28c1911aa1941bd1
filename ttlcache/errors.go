package ttlcache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrOverloaded is in the errors of Get if no load was admitted, see
	// [Config.MaxQueue]. Such an error has a method RetryAfter() time.Duration, which
	// says when there may be room. It is no verdict: answer 503.
	ErrOverloaded = errors.New("ttlcache: overloaded")

	// ErrRevoked is returned by Get if the credential, or the verdict of the load, was
	// revoked again each time that the load asked. It is no verdict.
	ErrRevoked = errors.New("ttlcache: revoked while it was asked for")

	// ErrNoKey is returned by Get if [Config.Key] wrote nothing: a verdict without a key
	// would serve all credentials.
	ErrNoKey = errors.New("ttlcache: Key wrote nothing")

	// ErrLoadTimeout is in the errors of Get if the load did not end within
	// [Config.LoadTimeout], beside [context.DeadlineExceeded]: so it was not the caller's
	// own deadline. It is no verdict.
	ErrLoadTimeout = errors.New("ttlcache: the load took longer than LoadTimeout")

	// ErrNoLoad is the error of [NoLoad]. It is no verdict.
	ErrNoLoad = errors.New("ttlcache: not in memory, and there is no load")

	errGoexit = errors.New("ttlcache: the load ended its goroutine")
)

// A PanicError is returned by Get if the load panicked, or a callback that judges
// its answer. The process lives on.
type PanicError struct {
	Value any    // Value was given to panic.
	Stack []byte // Stack is that of the goroutine which panicked.
}

// Error returns the value, but not the stack. It does not unwrap: an error that was
// panicked with is no verdict.
func (e *PanicError) Error() string { return fmt.Sprintf("ttlcache: the load panicked: %v", e.Value) }

// An overload is how ErrOverloaded reaches the caller.
type overload struct {
	wait time.Duration // zero is unknown
	why  string
}

func (e *overload) Error() string { return ErrOverloaded.Error() + ": " + e.why }
func (e *overload) Unwrap() error { return ErrOverloaded }

// RetryAfter returns how long the queue takes to drain.
func (e *overload) RetryAfter() time.Duration {
	const unmeasured, least = time.Second, 100 * time.Millisecond // less would be a busy loop
	if e.wait == 0 {
		return unmeasured
	}
	return max(e.wait, least)
}

// contextError is the end of ctx with its cause.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return fmt.Errorf("ttlcache: %w", cause)
	}
	return fmt.Errorf("ttlcache: %w: %w", err, cause)
}

// ofContext reports whether err is the end of a context, which is never a verdict.
func ofContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
