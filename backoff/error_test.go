package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

func TestDoomedWaitIsNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, given := range []struct {
			left time.Duration
			ok   bool
		}{{4*time.Second + 1, true}, {4 * time.Second, false}, {1, false}} {
			b := backoff.Backoff{Policy: exact}
			next(t, &b)
			fail(t, &b, errDown)
			fail(t, &b, errDown)
			b.Fail(errRefused)
			ctx, cancel := context.WithTimeout(t.Context(), given.left)
			begun := time.Now()
			require.Equal(t, given.ok, b.Next(ctx))
			cancel()
			if given.ok {
				continue
			}
			require.Zero(t, time.Since(begun))
			e := stopped(t, &b, context.DeadlineExceeded)
			require.Equal(t, &backoff.Error{Attempts: 3, Last: errRefused, Cause: context.DeadlineExceeded}, e)
			require.NotErrorIs(t, e, errDown, "the last error only")
		}
	})
}

// stopped is the error of a Backoff that stopped because of cause.
func stopped(t *testing.T, b *backoff.Backoff, cause error) *backoff.Error {
	t.Helper()
	var e *backoff.Error
	ok := errors.As(b.Err(), &e)
	require.True(t, ok, "%v", b.Err())
	require.ErrorIs(t, e, cause)
	return e
}

func TestDoneContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		b := backoff.Backoff{Policy: exact}
		require.True(t, b.Next(ctx))
		b.Fail(errRefused)
		cancel(why)
		begun := time.Now()
		require.False(t, b.Next(ctx))
		require.Zero(t, time.Since(begun))
		e := stopped(t, &b, why)
		require.ErrorIs(t, e, context.Canceled)
		require.ErrorIs(t, e, errRefused)
		require.Equal(t, why, e.Cause)
		require.Equal(t, errRefused, e.Last)
		require.EqualError(t, e, "shutting down after 1 attempt: refused")
		require.False(t, b.Next(t.Context()), "for good")
		b.Reset()
		require.NoError(t, b.Err())
		require.True(t, b.Next(t.Context()), "until Reset")

		var fresh backoff.Backoff
		require.False(t, fresh.Next(ctx))
		require.EqualError(t, fresh.Err(), "shutting down after 0 attempts")
		op, calls := failing(0, nil)
		_, err := backoff.Retry(ctx, exact, op)
		require.Zero(t, *calls)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestContextEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := backoff.Backoff{Policy: exact}
		next(t, &b)
		b.Fail(fmt.Errorf("login: %w", context.Canceled))
		time.AfterFunc(time.Millisecond, cancel)
		begun := time.Now()
		require.False(t, b.Next(ctx))
		require.Equal(t, time.Millisecond, time.Since(begun))
		require.EqualError(t, b.Err(), "backoff: stopped after 1 attempt: login: context canceled", "not twice")
	})
}

// quiet is a context that ends without telling anybody who waits.
type quiet struct {
	context.Context
	end time.Time
}

func (q quiet) Err() error {
	if time.Now().Before(q.end) {
		return nil
	}
	return context.Canceled
}

// A timer and a context that fire together are in no order, and a callback takes its
// time: the context is asked again in the end.
func TestContextIsAskedAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact}
		next(t, &b)
		b.Fail(errRefused)
		ctx := quiet{context.Background(), time.Now().Add(time.Second)}
		require.False(t, b.Next(ctx), "after the wait")
		require.Equal(t, time.Now(), ctx.end)
		stopped(t, &b, context.Canceled)

		op, calls := failing(9, errRefused)
		ctx.end = time.Now().Add(time.Second)
		_, err := backoff.Retry(ctx, exact, op)
		require.Equal(t, 1, *calls)
		require.ErrorIs(t, err, context.Canceled)

		b = backoff.Backoff{Rand: always(0), Splay: 1, StableAfter: 1}
		next(t, &b)
		session(&b, 1)
		canceled, cancel := context.WithCancel(t.Context())
		b.OnWait = func(e backoff.Event) {
			require.Zero(t, e.Delay)
			cancel()
		}
		require.False(t, b.Next(canceled), "also after a wait of no time")
	})
}

func TestMaxElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxElapsed = 10 * time.Second
		b := backoff.Backoff{Policy: p}
		next(t, &b)
		for range 3 {
			session(&b, time.Hour) // time that is no failure does not count
			require.Equal(t, time.Second, next(t, &b))
			require.Equal(t, 2*time.Second, fail(t, &b, errRefused))
			require.Equal(t, 4*time.Second, fail(t, &b, errRefused))
		}
		b.Fail(errRefused)
		begun := time.Now()
		require.False(t, b.Next(t.Context()))
		require.Zero(t, time.Since(begun), "8s could not end within the 3s that are left")
		e := stopped(t, &b, backoff.ErrExhausted)
		require.Equal(t, errRefused, e.Last)
	})
}

func TestMaxElapsedIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for elapsed, ok := range map[time.Duration]bool{time.Second + 1: true, time.Second: false, -1: true} {
			p := exact
			p.MaxElapsed = elapsed
			b := backoff.Backoff{Policy: p}
			next(t, &b)
			b.Fail(errRefused)
			require.Equal(t, ok, b.Next(t.Context()), elapsed)
		}
		p := exact
		p.MaxElapsed = time.Minute
		b := backoff.Backoff{Policy: p}
		b.Fail(backoff.After(time.Hour, errRefused))
		require.False(t, b.Next(t.Context()), "a hint that is too long ends it")
		stopped(t, &b, backoff.ErrExhausted)
	})
}

func TestMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxAttempts = 2
		b := backoff.Backoff{Policy: p}
		next(t, &b)
		for range 3 {
			session(&b, time.Minute)
			require.Equal(t, time.Second, next(t, &b), "a stable session begins a new run")
		}
		b.Fail(errRefused)
		require.False(t, b.Next(t.Context()))
		require.Equal(t, 4, stopped(t, &b, backoff.ErrExhausted).Attempts)
	})
}

func TestPermanentStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact, Splay: time.Hour}
		next(t, &b)
		b.Up()
		time.Sleep(time.Hour)
		wrapped := fmt.Errorf("revoked: %w", backoff.Permanent(errBad))
		b.Fail(wrapped)
		begun := time.Now()
		require.False(t, b.Next(t.Context()), "also after a stable session")
		require.Zero(t, time.Since(begun))
		e := stopped(t, &b, backoff.ErrPermanent)
		require.Equal(t, wrapped, e.Last, "the text around the mark survives")
		require.ErrorIs(t, e, errBad)
		b.Fail(errRefused)
		require.Equal(t, e, b.Err(), "what stopped it stays")
		require.False(t, b.Next(t.Context()))
	})
}
