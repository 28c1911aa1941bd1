package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// What the package comment shows.

func loop(ctx context.Context, connect func(ctx context.Context, up func()) error) error {
	var b backoff.Backoff // 500ms to 30s, doubling, half of each delay random
	for b.Next(ctx) {     // waits until the next attempt is due; false means stop
		err := connect(ctx, b.Up) // calls Up once connected, returns when the stream is lost
		b.Fail(err)
	}
	if ctx.Err() != nil {
		return nil // an ordinary shutdown
	}
	return b.Err() // an error that no attempt can cure, or the limits of the policy
}

func serve(ctx context.Context, p *backoff.Pacer, work func(context.Context) error) error {
	slot, err := p.Enter()
	if err != nil {
		return err // says when to come back: pass it on, see Hint
	}
	defer slot.Cancel() // does nothing after Done
	if err := work(ctx); err != nil {
		return err
	}
	slot.Done()
	return nil
}

func TestUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pacer := &backoff.Pacer{MaxPending: 1}
		denied := errors.New("denied")
		attempts := 0
		err := loop(t.Context(), func(ctx context.Context, up func()) error {
			return serve(ctx, pacer, func(context.Context) error {
				attempts++
				switch attempts {
				case 1:
					return errors.New("away")
				case 2:
					up()
					return errors.New("lost")
				default:
					return backoff.Permanent(denied)
				}
			})
		})
		require.ErrorIs(t, err, denied)
		require.Equal(t, 3, attempts)

		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, loop(ctx, func(context.Context, func()) error {
			cancel()
			return errors.New("lost")
		}))
	})
}
