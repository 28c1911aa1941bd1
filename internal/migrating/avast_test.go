package migrating

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avast/retry-go/v5"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

func pushBefore(ctx context.Context, send func(context.Context) error) error {
	return retry.New(
		retry.Context(ctx),
		retry.Attempts(5),
		retry.Delay(500*time.Millisecond),
		retry.MaxDelay(30*time.Second),
		retry.LastErrorOnly(true),
		retry.RetryIf(func(err error) bool { return !errors.Is(err, errDenied) }),
	).Do(func() error { return send(ctx) })
}

func pushAfter(ctx context.Context, send func(context.Context) error) error {
	return backoff.Do(ctx, backoff.Policy{MaxAttempts: 5}, func(ctx context.Context) error {
		err := send(ctx)
		if errors.Is(err, errDenied) {
			return backoff.Permanent(err)
		}
		return err
	})
}

func TestAvast(t *testing.T) {
	for name, push := range map[string]func(context.Context, func(context.Context) error) error{
		"before": pushBefore, "after": pushAfter,
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				failures, want int
				token          string
				err            error
			}{
				{3, 4, "good", nil},
				{0, 1, "bad", errDenied},
				{9, 5, "good", errDown},
			} {
				synctest.Test(t, func(t *testing.T) {
					p := &provider{failures: c.failures}
					err := push(t.Context(), func(ctx context.Context) error {
						_, err := p.ask(ctx, c.token)
						return err
					})
					require.ErrorIs(t, err, c.err)
					require.Equal(t, c.want, p.asked)
				})
			}
		})
	}
}
