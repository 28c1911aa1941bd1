package backoff_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// What happens during a wait of 4s changes what follows, and not the wait.
func TestDuringAWait(t *testing.T) {
	for name, arm := range map[string]struct {
		do   func(*backoff.Backoff)
		stop error
		then time.Duration // the next wait
	}{
		"SetWindow": {func(b *backoff.Backoff) { b.SetWindow(20 * time.Second) }, nil, 10 * time.Second},
		"Reset":     {(*backoff.Backoff).Reset, nil, time.Second},
		"Fail":      {func(b *backoff.Backoff) { b.Fail(errBad) }, nil, 8 * time.Second}, // of what is lost already
		"permanent": {func(b *backoff.Backoff) { b.Fail(backoff.Permanent(errBad)) }, backoff.ErrPermanent, 0},
		"a late Up": {(*backoff.Backoff).Up, nil, 8 * time.Second},
		"reading": {func(b *backoff.Backoff) {
			require.Equal(t, 3, b.Failures())
			require.NoError(t, b.Err())
		}, nil, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := backoff.Backoff{Policy: exact, StableAfter: time.Second, Rand: always(0.5)}
				failed(t, &b, 3)
				time.AfterFunc(time.Second, func() { arm.do(&b) })
				begun := time.Now()
				require.Equal(t, arm.stop == nil, b.Next(t.Context()))
				require.Equal(t, 4*time.Second, time.Since(begun))
				require.ErrorIs(t, b.Err(), arm.stop)
				if arm.stop == nil {
					time.Sleep(3 * time.Second) // the attempt
					require.Equal(t, arm.then, fail(t, &b, errRefused))
				}
			})
		})
	}
}

// A window that replaces another one during a wait has a phase of its own.
func TestWindowIsReplacedDuringAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact, Rand: always(0.25)}
		b.SetWindow(8 * time.Second)
		b.Fail(errRefused)
		time.AfterFunc(time.Second, func() { b.SetWindow(20 * time.Second) })
		require.Equal(t, 2*time.Second, next(t, &b), "the wait that is under way")
		require.Equal(t, 5*time.Second, fail(t, &b, errRefused))
		require.Equal(t, 20*time.Second, fail(t, &b, errRefused))
		time.AfterFunc(time.Second, func() { b.SetWindow(0) })
		require.Equal(t, 20*time.Second, fail(t, &b, errRefused))
		require.Equal(t, 8*time.Second, fail(t, &b, errRefused), "the schedule")
	})
}

// OnWait and Rand may call any method but Next: no lock is held.
func TestCallbacksHoldNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := backoff.Backoff{Policy: exact}
		all := func() {
			calls++
			b.Up()
			b.SetWindow(time.Minute)
			b.SetWindow(0)
			_, _ = b.Failures(), b.Err()
			b.Fail(errBad)
			b.Reset()
			b.Fail(errRefused)
		}
		b.OnWait = func(backoff.Event) { all() }
		b.Rand = func() float64 {
			all()
			return 0
		}
		b.Fail(errRefused)
		next(t, &b)
		require.Equal(t, 2, calls)
	})
}

// A server may ask for centuries; whoever does not want to obey has MaxHint.
func TestHintOfCenturies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, u := range []float64{0, 0.5, 1} {
			b := backoff.Backoff{Policy: backoff.Policy{MaxHint: -1}, Rand: always(u)}
			var e backoff.Event
			b.OnWait = func(got backoff.Event) { e = got }
			b.Fail(backoff.After(math.MaxInt64, errRefused))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			require.False(t, b.Next(ctx))
			cancel()
			require.Zero(t, e, "a wait that is not begun")
			b.Reset()
			b.Fail(backoff.After(math.MaxInt64, errRefused))
			b.SetWindow(math.MaxInt64)
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(time.Hour, cancel)
			require.False(t, b.Next(ctx))
			require.Equal(t, time.Duration(math.MaxInt64), e.Delay, "neither more nor less than nothing")
		}
	})
}

// A Slot ends once, whoever is first.
func TestSlotEndsOnce(t *testing.T) {
	var p backoff.Pacer
	for range 100 {
		s, err := p.Enter()
		require.NoError(t, err)
		var all sync.WaitGroup
		for range 4 {
			all.Go(s.Done)
			all.Go(s.Cancel)
		}
		all.Wait()
	}
	s := p.Stats()
	require.Zero(t, s.Pending)
	require.EqualValues(t, 100, s.Entered)
	require.EqualValues(t, 100, s.Finished+s.Canceled)
}
