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

func notifyBefore(ctx context.Context, send func(context.Context) error) error {
	ticker := cenkalti.NewTicker(cenkalti.NewExponentialBackOff())
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C: // ticks while send runs: after a slow failure the next attempt comes at once
			if err := send(ctx); err == nil {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func notifyAfter(ctx context.Context, send func(context.Context) error) error {
	var b backoff.Backoff
	for b.Next(ctx) { // the wait begins when send has failed
		err := send(ctx)
		if err == nil {
			return nil
		}
		b.Fail(err)
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

// A server that takes ten seconds to fail is asked again at once before, and not after.
func TestCenkaltiTicker(t *testing.T) {
	shortest := func(notify func(context.Context, func(context.Context) error) error) time.Duration {
		pause := time.Hour
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			var failed time.Time
			err := notify(ctx, func(context.Context) error {
				if !failed.IsZero() {
					pause = min(pause, time.Since(failed))
				}
				time.Sleep(10 * time.Second)
				failed = time.Now()
				return errDown
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		return pause
	}
	require.Zero(t, shortest(notifyBefore))
	require.GreaterOrEqual(t, shortest(notifyAfter), 250*time.Millisecond)
}
