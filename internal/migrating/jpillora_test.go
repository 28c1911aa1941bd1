package migrating

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	jpillora "github.com/jpillora/backoff"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

func tunnelBefore(ctx context.Context, connect session) error {
	b := &jpillora.Backoff{Min: 500 * time.Millisecond, Max: 30 * time.Second} // no jitter unless it is set
	for ctx.Err() == nil {
		_ = connect(ctx, b.Reset) // forgets on connect
		timer := time.NewTimer(b.Duration())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return ctx.Err()
}

func tunnelAfter(ctx context.Context, connect session) error {
	var b backoff.Backoff
	for b.Next(ctx) {
		b.Fail(connect(ctx, b.Up))
	}
	return b.Err()
}

// A server that accepts and dies, for ten minutes.
func TestJpillora(t *testing.T) {
	attempts := func(t *testing.T, loop func(context.Context, session) error) (n int) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			err := loop(ctx, func(_ context.Context, up func()) error { n++; up(); return errDenied })
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		return n
	}
	require.Greater(t, attempts(t, tunnelBefore), 1000)
	require.Less(t, attempts(t, tunnelAfter), 60)
}
