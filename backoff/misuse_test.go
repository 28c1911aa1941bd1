package backoff_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// inAMinute is how many attempts b makes of which none succeeds.
func inAMinute(t *testing.T, b *backoff.Backoff, op func() error) (attempts int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for attempts < 1000 && b.Next(ctx) { // or a hot loop would keep the test for minutes
		attempts++
		b.Fail(op())
	}
	return attempts
}

// A small fleet is told a small window: three agents dialed a dead server 20,001 times a
// minute.
func TestSmallWindowIsNoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, w := range []time.Duration{1, 3 * time.Millisecond, 499 * time.Millisecond} {
			b := backoff.Backoff{Rand: seeded(1)}
			b.SetWindow(w)
			require.LessOrEqual(t, inAMinute(t, &b, func() error { return errRefused }), 12, w)
		}
	})
}

// The slots that are left keep the phase, and the loss of a stable session is spread
// over the window as ever.
func TestSmallWindowKeepsThePhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const w = 300 * time.Millisecond
		b := backoff.Backoff{Policy: exact, Rand: always(0.5)}
		b.SetWindow(w)
		next(t, &b)
		session(&b, time.Hour)
		lost := time.Now()
		require.Equal(t, w/2, next(t, &b))
		for _, least := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
			d := fail(t, &b, errRefused)
			require.GreaterOrEqual(t, d, least)
			require.Less(t, d, least+w)
			require.Equal(t, w/2, time.Since(lost)%w)
		}
	})
}

// A server that accepts and kills is not hammered, whatever window it announces.
func TestSmallWindowOfACrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Rand: seeded(1)}
		b.SetWindow(3 * time.Millisecond)
		require.LessOrEqual(t, inAMinute(t, &b, func() error {
			b.Up()
			return errRefused
		}), 12)
	})
}

func TestOneAttemptHasOneLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact, Splay: time.Minute, Rand: always(0.5)}
		next(t, &b)
		session(&b, time.Hour)
		b.Fail(errDown) // the writer reports it as well
		require.Equal(t, 1, b.Failures())
		require.Equal(t, 30*time.Second, next(t, &b), "the splay is not lost")

		b.Fail(backoff.After(20*time.Second, errRefused))
		b.Fail(errDown)
		require.Equal(t, 20500*time.Millisecond, next(t, &b), "nor is the hint")

		b.Fail(errDown)
		b.Fail(backoff.Permanent(errBad))
		require.False(t, b.Next(t.Context()), "what is permanent counts always")
		e := stopped(t, &b, backoff.ErrPermanent)
		require.Equal(t, errBad, e.Last)
	})
}

// A value that was sent while the session lived would end the splay of a whole fleet.
func TestStaleWakeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 2)
		b := backoff.Backoff{Policy: exact, Splay: time.Minute, Rand: always(0.5), Wake: wake}
		next(t, &b)
		b.Up()
		time.Sleep(time.Hour)
		wake <- struct{}{}
		wake <- struct{}{}
		b.Fail(errRefused)
		require.Equal(t, 30*time.Second, next(t, &b))
		wake <- struct{}{}
		b.Up()
		require.Empty(t, wake)
		time.Sleep(time.Hour)
		wake <- struct{}{}
		require.Equal(t, 30*time.Second, next(t, &b), "a loss that Next notices")
		wake <- struct{}{} // the network is back while an attempt fails
		require.Zero(t, fail(t, &b, errRefused))
	})
}

func TestWakeThatNeverStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case wake <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
		b := backoff.Backoff{Wake: wake}
		require.LessOrEqual(t, inAMinute(t, &b, func() error { return errRefused }), 122)
		cancel()
		<-done
	})
}

func TestExhaustedWhateverTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxAttempts = 3
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // 2s are left, and 4s would be due
		defer cancel()
		b := backoff.Backoff{Policy: p}
		for b.Next(ctx) {
			b.Fail(errRefused)
		}
		require.ErrorIs(t, b.Err(), backoff.ErrExhausted)
		require.NotErrorIs(t, b.Err(), context.DeadlineExceeded)
		_, err := backoff.Retry(ctx, backoff.Policy{MaxAttempts: 1}, func(context.Context) (int, error) { return 0, errRefused })
		require.ErrorIs(t, err, backoff.ErrExhausted)
	})
}

// Hints that MaxHint cuts to one and the same wait are spread as they would have been:
// 52 attempts instead of 4 with a MaxHint of 20ms.
func TestJitterOfACappedHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := 0
		requireUniform(t, 20*time.Millisecond, 1020*time.Millisecond, sample(2000, func() time.Duration {
			i++
			b := backoff.Backoff{Policy: backoff.Policy{MaxHint: 20 * time.Millisecond}, Rand: seeded(i)}
			next(t, &b)
			return fail(t, &b, backoff.After(time.Minute, errRefused))
		}))
	})
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		b := backoff.Backoff{Policy: exact, Schedule: func(n int) time.Duration {
			asked = append(asked, n)
			return time.Duration(n) * 100 * time.Millisecond
		}}
		require.Zero(t, next(t, &b))
		for n := range 5 {
			require.Equal(t, time.Duration(n+1)*100*time.Millisecond, next(t, &b), "a loss that Next notices as well")
		}
		require.Equal(t, 10*time.Second, fail(t, &b, backoff.After(10*time.Second, errRefused)).Truncate(time.Second), "a hint goes first")
		session(&b, time.Hour)
		require.Equal(t, 100*time.Millisecond, next(t, &b))
		require.Equal(t, []int{1, 2, 3, 4, 5, 6, 1}, asked, "once before each wait")
	})
}

func TestScheduleKeepsTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: backoff.Policy{Max: 7 * time.Second}, Schedule: func(int) time.Duration { return math.MaxInt64 }}
		next(t, &b)
		require.Equal(t, 7*time.Second, fail(t, &b, errRefused))

		b = backoff.Backoff{Policy: backoff.Policy{MaxElapsed: time.Minute}, Schedule: func(int) time.Duration { return 20 * time.Second }}
		next(t, &b)
		fail(t, &b, errRefused)
		fail(t, &b, errRefused)
		b.Fail(errRefused)
		require.False(t, b.Next(t.Context()))
		require.ErrorIs(t, b.Err(), backoff.ErrExhausted)
	})
}

func TestScheduleIsNoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{0, -1, math.MinInt64} {
			b := backoff.Backoff{Schedule: func(int) time.Duration { return d }}
			require.LessOrEqual(t, inAMinute(t, &b, func() error { return errRefused }), 20, d)
		}
		b := backoff.Backoff{Schedule: func(n int) time.Duration { return min(time.Duration(n-1), 1) * time.Second }}
		next(t, &b)
		require.Zero(t, fail(t, &b, errRefused), "at once the first time")
		require.Equal(t, time.Second, fail(t, &b, errRefused))
	})
}

// A Schedule may call b, and its panic leaves b as it was.
func TestScheduleHoldsNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff.Backoff
		angry := true
		b.Schedule = func(n int) time.Duration {
			require.Equal(t, n, b.Failures())
			if angry {
				panic("angry")
			}
			return time.Second
		}
		next(t, &b)
		b.Fail(errRefused)
		require.PanicsWithValue(t, "angry", func() { b.Next(t.Context()) })
		angry = false
		require.Equal(t, time.Second, next(t, &b))
		require.Equal(t, 1, b.Failures())
	})
}

func TestRetryNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact}
		next(t, &b)
		for _, err := range []error{errRefused, backoff.After(time.Minute, errRefused)} {
			b.Fail(err)
			time.AfterFunc(time.Millisecond, b.RetryNow)
			require.Equal(t, time.Millisecond, next(t, &b))
			require.Zero(t, b.Failures())
		}
		b.SetWindow(time.Minute)
		b.Fail(errRefused)
		time.AfterFunc(time.Millisecond, b.RetryNow)
		require.LessOrEqual(t, next(t, &b), time.Millisecond)
		b.SetWindow(0)
		b.RetryNow() // beside an attempt: there is no wait to end
		require.Equal(t, time.Second, fail(t, &b, errRefused))

		b.OnWait = func(backoff.Event) { b.RetryNow() } // just before the wait
		require.Zero(t, fail(t, &b, errRefused))
	})
}

// One Backoff for one job after the other.
func TestBackoffDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxAttempts = 3
		var waits []time.Duration
		b := backoff.Backoff{Policy: p, OnWait: func(e backoff.Event) { waits = append(waits, e.Delay) }}
		for range 2 {
			waits = nil
			begun := time.Now()
			require.NoError(t, b.Do(t.Context(), func(context.Context) error {
				if b.Failures() < 2 {
					return errRefused
				}
				return nil
			}))
			require.Equal(t, []time.Duration{time.Second, 2 * time.Second}, waits)
			require.Equal(t, 3*time.Second, time.Since(begun), "the first attempt at once")

			attempts := 0
			err := b.Do(t.Context(), func(context.Context) error { attempts++; return errBad })
			require.Equal(t, 3, attempts)
			require.ErrorIs(t, err, backoff.ErrExhausted)
			require.ErrorIs(t, err, errBad)
			var e *backoff.Error
			require.True(t, errors.As(err, &e))
			require.Equal(t, 3, e.Attempts)
		}
	})
}

// Without Do: Reset after a success, and no attempt is lost.
func TestResetAfterASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxAttempts = 2
		b := backoff.Backoff{Policy: p}
		for range 3 {
			b.Reset()
			require.Zero(t, next(t, &b))
			require.Equal(t, time.Second, fail(t, &b, errRefused))
		}
	})
}

// An inner Permanent stops an outer loop, as its doc says.
func TestPermanentOfAnInnerLoop(t *testing.T) {
	calls := 0
	err := backoff.Do(t.Context(), backoff.Policy{}, func(ctx context.Context) error {
		calls++
		return backoff.Do(ctx, backoff.Policy{}, func(context.Context) error { return backoff.Permanent(errBad) })
	})
	require.Equal(t, 1, calls)
	require.ErrorIs(t, err, backoff.ErrPermanent)
	require.ErrorIs(t, err, errBad)
}
