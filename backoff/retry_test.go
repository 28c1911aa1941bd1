package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

var (
	errRefused = errors.New("refused")
	errBad     = errors.New("bad password")
)

// exact is a schedule of 1s, 2s, 4s, 8s, 8s ... without jitter.
var exact = backoff.Policy{Min: time.Second, Max: 8 * time.Second, Jitter: -1}

// failing fails n times with err and then returns 42. It counts its calls.
func failing(n int, err error) (op func(context.Context) (int, error), calls *int) {
	calls = new(int)
	return func(context.Context) (int, error) {
		if *calls++; *calls <= n {
			return *calls, err
		}
		return 42, nil
	}, calls
}

func TestRetryUntilSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		op, calls := failing(4, errRefused)
		v, err := backoff.Retry(t.Context(), exact, op)
		require.NoError(t, err)
		require.Equal(t, 42, v)
		require.Equal(t, 5, *calls)
		require.Equal(t, 15*time.Second, time.Since(begun))
	})
}

func TestRetryMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op, calls := failing(9, errRefused)
		p := exact
		p.MaxAttempts = 3
		v, err := backoff.Retry(t.Context(), p, op)
		require.Zero(t, v)
		require.Equal(t, 3, *calls)
		require.ErrorIs(t, err, backoff.ErrExhausted)
		require.ErrorIs(t, err, errRefused)
		var e *backoff.Error
		ok := errors.As(err, &e)
		require.True(t, ok)
		require.Equal(t, 3, e.Attempts)
		require.Equal(t, errRefused, e.Last)
		require.Equal(t, backoff.ErrExhausted, e.Cause)
		require.EqualError(t, err, "backoff: exhausted after 3 attempts: refused")
	})
}

func TestRetryMaxElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxElapsed, p.MaxAttempts = 10*time.Second, 9
		calls := 0
		begun := time.Now()
		_, err := backoff.Retry(t.Context(), p, func(context.Context) (int, error) {
			if calls++; calls == 1 {
				time.Sleep(time.Hour) // before the first failure nothing has elapsed
			}
			return 0, errRefused
		})
		require.Equal(t, 4, calls)
		require.Equal(t, time.Hour+7*time.Second, time.Since(begun), "8s more could not end within the 3s that are left")
		require.ErrorIs(t, err, backoff.ErrExhausted)
		require.ErrorIs(t, err, errRefused)
	})
}

func TestRetryObeysHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxHint = time.Minute
		for asked, least := range map[time.Duration]time.Duration{
			5 * time.Second: 5 * time.Second, time.Hour: time.Minute, math.MaxInt64: time.Minute, 1: 1,
		} {
			begun := time.Now()
			op, _ := failing(1, fmt.Errorf("busy: %w", backoff.After(asked, errRefused)))
			_, err := backoff.Retry(t.Context(), p, op)
			require.NoError(t, err)
			require.GreaterOrEqual(t, time.Since(begun), least)
			require.Less(t, time.Since(begun), least+min(least, time.Second), "%v", asked)
		}
	})
}

func TestRetryUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(1500*time.Millisecond, func() { cancel(why) })
		begun := time.Now()
		op, calls := failing(9, errRefused)
		_, err := backoff.Retry(ctx, exact, op)
		require.Equal(t, 1500*time.Millisecond, time.Since(begun), "during the second wait")
		require.Equal(t, 2, *calls)
		for _, cause := range []error{why, context.Canceled, errRefused} {
			require.ErrorIs(t, err, cause)
		}

		limited, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		begun = time.Now()
		_, err = backoff.Retry(limited, exact, op)
		require.Zero(t, time.Since(begun), "a wait that could not end before the deadline is not begun")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errRefused)
	})
}

func TestRetryStopsAtPermanent(t *testing.T) {
	wrapped := fmt.Errorf("while dialing db7: %w", backoff.Permanent(errBad))
	for _, given := range []struct{ err, last error }{
		{backoff.Permanent(errBad), errBad},
		{wrapped, wrapped},
		{backoff.Permanent(wrapped), wrapped},
		{backoff.Permanent(backoff.After(time.Second, errBad)), backoff.After(time.Second, errBad)},
	} {
		op, calls := failing(9, given.err)
		_, err := backoff.Retry(t.Context(), exact, op)
		require.Equal(t, 1, *calls)
		require.ErrorIs(t, err, backoff.ErrPermanent)
		require.ErrorIs(t, err, errBad)
		var e *backoff.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, given.last, e.Last)
		require.EqualError(t, err, "backoff: permanent failure after 1 attempt: "+given.last.Error())
	}
}
