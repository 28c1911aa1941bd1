package bench_test

import (
	"context"
	"errors"
	"time"

	avast "github.com/avast/retry-go/v5"
	cenkalti "github.com/cenkalti/backoff/v7"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	sethvargo "github.com/sethvargo/go-retry"

	"github.com/connhygiene/connhygiene/backoff"
)

var errRefused = errors.New("connection refused")

// A schedule is what every library is set to: delays that double from min to max,
// half of each random where the library has such a thing. If min is max, peers are
// set to the constant delay that is cheapest for them.
type schedule struct{ min, max time.Duration }

func (s schedule) constant() bool { return s.min == s.max }

// A loop calls op until it succeeds or ctx ends.
type loop func(ctx context.Context, op func() error) error

// A retrier is one way of retrying with one library. Its loops may be used again
// and again by one goroutine.
type retrier struct {
	name string
	new  func(s schedule) loop
}

var retriers = []retrier{
	{"ours", func(s schedule) loop {
		p := backoff.Policy{Min: s.min, Max: s.max}
		return func(ctx context.Context, op func() error) error {
			return backoff.Do(ctx, p, func(context.Context) error { return op() })
		}
	}},
	{"cenkalti", func(s schedule) loop {
		exponential := cenkalti.NewExponentialBackOff()
		exponential.InitialInterval, exponential.MaxInterval, exponential.Multiplier = s.min, s.max, 2
		b := cenkalti.BackOff(exponential)
		if s.constant() {
			b = cenkalti.NewConstantBackOff(s.min)
		}
		return func(ctx context.Context, op func() error) error {
			b.Reset()
			_, err := cenkalti.Retry(
				ctx,
				func() (struct{}, error) { return struct{}{}, op() },
				cenkalti.WithBackOff(b), cenkalti.WithMaxElapsedTime(0),
			)
			return err
		}
	}},
	{"avast", func(s schedule) loop { return avastLoop(s) }},
	{"avast-full", func(s schedule) loop { return avastLoop(s, avast.DelayType(avast.FullJitterBackoffDelay)) }},
	{"failsafe", func(s schedule) loop {
		policy := retrypolicy.NewBuilder[any]().WithMaxRetries(-1)
		if s.constant() {
			policy = policy.WithDelay(s.min)
		} else {
			policy = policy.WithBackoff(s.min, s.max).WithJitterFactor(0.5)
		}
		executor := failsafe.With(policy.Build())
		var of context.Context
		return func(ctx context.Context, op func() error) error {
			if of != ctx {
				executor, of = executor.WithContext(ctx), ctx
			}
			return executor.Run(op)
		}
	}},
	{"sethvargo", func(s schedule) loop { // jitter inside the cap
		return sethvargoLoop(func() sethvargo.Backoff {
			if s.constant() {
				return sethvargo.NewConstant(s.min)
			}
			return sethvargo.WithCappedDuration(s.max, sethvargo.WithJitterPercent(50, sethvargo.NewExponential(s.min)))
		})
	}},
	{"sethvargo-outer", func(s schedule) loop { // jitter outside the cap
		return sethvargoLoop(func() sethvargo.Backoff {
			return sethvargo.WithJitterPercent(50, sethvargo.WithCappedDuration(s.max, sethvargo.NewExponential(s.min)))
		})
	}},
}

// avastLoop keeps its context where this library has it, in the retrier, and makes
// a new retrier for a new context only.
func avastLoop(s schedule, opts ...avast.Option) loop {
	var r *avast.Retrier
	var of context.Context
	return func(ctx context.Context, op func() error) error {
		if of != ctx {
			opts := append([]avast.Option{
				avast.Context(ctx), avast.UntilSucceeded(), avast.LastErrorOnly(true), avast.Delay(s.min), avast.MaxDelay(s.max),
			}, opts...)
			if s.constant() {
				opts = append(opts, avast.DelayType(avast.FixedDelay))
			}
			r, of = avast.New(opts...), ctx
		}
		return r.Do(op)
	}
}

// sethvargoLoop makes a new Backoff for each run: one that is used up stays so.
func sethvargoLoop(fresh func() sethvargo.Backoff) loop {
	return func(ctx context.Context, op func() error) error {
		return sethvargo.Do(ctx, fresh(), func(context.Context) error {
			return sethvargo.RetryableError(op())
		})
	}
}
