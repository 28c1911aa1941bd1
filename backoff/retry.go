package backoff

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Retry calls op until it succeeds and returns its result. Between two calls it waits
// for the delay of p, or for the hint of the server, see [After]. All errors
// are retried but those marked by [Permanent].
//
// A job that is to be logged, or that needs the number of its attempt, uses
// [Backoff.Do]: it has a hook, and Policy stays a comparable value.
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
		return zero, &Error{0, nil, e.cause, e.ended}
	}
	var r retry
	for {
		v, err := op(ctx)
		if err == nil {
			return v, nil
		}
		if err := r.again(ctx, &p, err); err != nil {
			return zero, err
		}
	}
}

// Do is [Retry] for an op that has no result but its error.
func Do(ctx context.Context, p Policy, op func(context.Context) error) error {
	_, err := Retry(ctx, p, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) })
	return err
}

// Do calls op until it succeeds, as the function [Do] does, with b's Policy and its other
// fields: OnWait to log a failure and the wait after it, Schedule, Splay and Wake. A
// Backoff may be used for one job after the other: Do begins with Reset, and Failures
// within op is the number of attempts before.
func (b *Backoff) Do(ctx context.Context, op func(context.Context) error) error {
	b.Reset()
	for b.Next(ctx) {
		err := op(ctx)
		if err == nil {
			b.Reset()
			return nil
		}
		b.Fail(err)
	}
	return b.Err()
}

// retry is the position of one Retry.
type retry struct {
	attempts int
	streak   streak
	sleeper  sleeper
}

// again waits after a failure until the next attempt is due. Its error is why there
// is to be none.
func (r *retry) again(ctx context.Context, p *Policy, err error) error {
	r.attempts++
	hint, _ := Hint(err)
	var now time.Time
	if p.MaxElapsed > 0 { // the only limit that needs the clock, which is not cheap
		now = time.Now()
	}
	r.streak.add(err, hint, now)
	if errors.Is(err, ErrPermanent) {
		return r.stop(ending{cause: ErrPermanent})
	}
	d := r.streak.scheduled(p, rand.Float64())
	if hint > 0 {
		d = r.streak.hinted(p, rand.Float64())
	}
	if e := r.streak.ending(limitOf(ctx), p, d); e.cause != nil {
		return r.stop(e)
	}
	r.sleeper.sleep(ctx, d, nil)
	if e := endingOf(ctx); e.cause != nil {
		return r.stop(e)
	}
	return nil
}

func (r *retry) stop(e ending) error {
	return &Error{r.attempts, r.streak.last, e.cause, e.ended}
}
