package migrating

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	cenkalti "github.com/cenkalti/backoff/v7"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

type lookup func(ctx context.Context, token string) (string, error)

func userBefore(ctx context.Context, ask lookup, token string) (string, error) {
	schedule := cenkalti.NewExponentialBackOff()
	schedule.MaxInterval = 30 * time.Second
	schedule.Multiplier = 2
	return cenkalti.Retry(ctx, func() (string, error) {
		user, err := ask(ctx, token)
		if errors.Is(err, errDenied) {
			return "", cenkalti.Permanent(err)
		}
		return user, err
	}, cenkalti.WithBackOff(schedule), cenkalti.WithMaxTries(5), cenkalti.WithMaxElapsedTime(2*time.Minute))
}

func userAfter(ctx context.Context, ask lookup, token string) (string, error) {
	policy := backoff.Policy{MaxAttempts: 5, MaxElapsed: 2 * time.Minute}
	return backoff.Retry(ctx, policy, func(ctx context.Context) (string, error) {
		user, err := ask(ctx, token)
		if errors.Is(err, errDenied) {
			return "", backoff.Permanent(err)
		}
		return user, err
	})
}

type session func(ctx context.Context, up func()) error

func reconnectBefore(ctx context.Context, connect session) error {
	schedule := cenkalti.NewExponentialBackOff()
	schedule.MaxInterval = 30 * time.Second
	for {
		err := connect(ctx, schedule.Reset) // forgets on connect: a server that accepts and kills is hammered
		timer := time.NewTimer(schedule.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

func reconnectAfter(ctx context.Context, connect session) error {
	b := backoff.Backoff{Splay: 10 * time.Second} // a fleet of 800 and 80 logins a second
	for b.Next(ctx) {
		b.Fail(connect(ctx, b.Up))
	}
	return b.Err()
}

func TestCenkaltiRetry(t *testing.T) {
	for name, user := range map[string]func(context.Context, lookup, string) (string, error){
		"before": userBefore, "after": userAfter,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &provider{failures: 3}
				got, err := user(t.Context(), p.ask, "good")
				require.NoError(t, err)
				require.Equal(t, "alice", got)
				require.Equal(t, 4, p.asked)

				p = &provider{}
				_, err = user(t.Context(), p.ask, "bad")
				require.ErrorIs(t, err, errDenied)
				require.Equal(t, 1, p.asked, "a verdict is not asked for again")

				p = &provider{failures: 9}
				_, err = user(t.Context(), p.ask, "good")
				require.ErrorIs(t, err, errDown)
				require.Equal(t, 5, p.asked)
			})
		})
	}
}

// A server that accepts and kills at once is hammered before, and not after.
func TestCenkaltiReconnect(t *testing.T) {
	attempts := func(reconnect func(context.Context, session) error) (n int) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			err := reconnect(ctx, func(_ context.Context, up func()) error {
				n++
				up()
				return errDown
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, errDown)
		})
		return n
	}
	require.Greater(t, attempts(reconnectBefore), 500)
	require.Less(t, attempts(reconnectAfter), 60)
}
