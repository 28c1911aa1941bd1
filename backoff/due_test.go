package backoff_test

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// Hint, window, splay, schedule: each is taken away and the one after it is due.
func TestOrderOfWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact, Splay: 40 * time.Second, Rand: always(0.5)}
		hinted := backoff.After(20*time.Second, errRefused)
		stable := func(err error) time.Duration {
			b.Up()
			time.Sleep(time.Minute)
			return fail(t, &b, err)
		}
		next(t, &b)
		b.SetWindow(16 * time.Second)
		require.Equal(t, 20500*time.Millisecond, stable(hinted))
		require.Equal(t, 8*time.Second, stable(errRefused))
		b.SetWindow(0)
		require.Equal(t, 20*time.Second, stable(errRefused))
		require.Equal(t, 2*time.Second, fail(t, &b, errRefused))
	})
}

func TestHintReplacesTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact, Rand: always(0)}
		next(t, &b)
		for range 3 {
			fail(t, &b, errRefused)
		}
		require.Equal(t, 10*time.Millisecond, fail(t, &b, backoff.After(10*time.Millisecond, errRefused)), "also where it is shorter")
		require.Equal(t, 4, b.Failures(), "the failure counts")
		require.Equal(t, 8*time.Second, fail(t, &b, errRefused), "for one wait")
		wrapped := fmt.Errorf("login: %w", backoff.After(time.Minute, errRefused))
		require.Equal(t, time.Minute, fail(t, &b, wrapped))
		require.Equal(t, 80*time.Second, fail(t, &b, backoff.After(time.Hour, errRefused)), "at most 10 times Max")
		require.Equal(t, 8*time.Second, fail(t, &b, backoff.After(0, errRefused)), "none")
		require.Equal(t, 8*time.Second, fail(t, &b, backoff.After(math.MinInt64, errRefused)), "none")
	})
}

// Hints are whole seconds as a rule. Unless they are spread, they make a fleet march
// in step.
func TestHintIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for hint, spread := range map[time.Duration]time.Duration{
			5 * time.Second: time.Second, time.Second: time.Second, 100 * time.Millisecond: 100 * time.Millisecond,
		} {
			i := 0
			requireUniform(t, hint, hint+spread, sample(2000, func() time.Duration {
				i++
				b := backoff.Backoff{Rand: seeded(i)}
				next(t, &b)
				return fail(t, &b, backoff.After(hint, errRefused))
			}))
		}
	})
}

func TestMaxHint(t *testing.T) {
	for _, given := range []struct{ most, maxHint, asked, want time.Duration }{
		{0, 0, time.Hour, 300 * time.Second},
		{time.Second, 0, time.Hour, 10 * time.Second},
		{time.Second, time.Minute, time.Hour, time.Minute},
		{time.Second, -1, 1000 * time.Hour, 1000 * time.Hour},
		{-1, 0, 1000 * time.Hour, 1000 * time.Hour},
		{math.MaxInt64 / 2, 0, 1000 * time.Hour, 1000 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := backoff.Policy{Max: given.most, MaxHint: given.maxHint}
			b := backoff.Backoff{Policy: p, Rand: always(0)}
			next(t, &b)
			require.Equal(t, given.want, fail(t, &b, backoff.After(given.asked, errRefused)), "hint, %+v", given)
			b = backoff.Backoff{Policy: p, Rand: always(0.5)}
			next(t, &b)
			b.SetWindow(given.asked)
			require.Equal(t, given.want/2, fail(t, &b, errRefused), "window, %+v", given)
			require.Equal(t, given.want, fail(t, &b, errRefused), "window, %+v", given)
		})
	}
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const w = 8 * time.Second
		i := 0
		requireUniform(t, 0, w, sample(800, func() time.Duration {
			i++
			b := backoff.Backoff{Splay: time.Hour, Rand: seeded(i)}
			next(t, &b)
			b.Up()
			time.Sleep(time.Hour)
			b.SetWindow(w)
			b.Fail(errRefused)
			lost := time.Now()
			time.Sleep(time.Duration(i) * time.Millisecond) // what is counted is from the loss
			phase := func() time.Duration { return time.Since(lost) % w }
			next(t, &b)
			first, at := phase(), time.Since(lost)
			for n := range 10 {
				b.Fail(errRefused)
				b.SetWindow(w) // announced again: the same window
				next(t, &b)
				require.Equal(t, at+time.Duration(n+1)*w, time.Since(lost), "exactly every window")
			}
			time.Sleep(2*w + w/2) // a slow attempt
			require.Equal(t, w/2, fail(t, &b, errRefused), "missed slots are skipped")
			require.Equal(t, first, phase(), "and the phase is kept")
			require.Equal(t, 5*time.Second, fail(t, &b, backoff.After(5*time.Second, errRefused)).Truncate(time.Second))
			fail(t, &b, errRefused)
			require.Equal(t, first, phase(), "also after a hint")
			time.Sleep(w)
			require.Equal(t, w, fail(t, &b, errRefused), "a slot that has passed just now has passed")
			return first
		}))
	})
}

// The time that passes between the loss and Next is part of the wait.
func TestWindowBeginsAtTheLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for slept, want := range map[time.Duration]time.Duration{
			0: 4 * time.Second, time.Second: 3 * time.Second, 4 * time.Second: 0,
			5 * time.Second: 7 * time.Second, 29 * time.Second: 7 * time.Second,
		} {
			b := backoff.Backoff{Rand: always(0.5)}
			b.Fail(errRefused)
			time.Sleep(slept)
			b.SetWindow(8 * time.Second)
			require.Equal(t, want, next(t, &b), slept)
		}
	})
}

func TestWindowIsDrawnAnewAfterUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const w = 8 * time.Second
		random := 0.25
		b := backoff.Backoff{Rand: func() float64 { return random }}
		next(t, &b)
		b.SetWindow(w)
		require.Equal(t, 2*time.Second, fail(t, &b, errRefused))
		require.Equal(t, w, fail(t, &b, errRefused))
		random = 0.75
		require.Equal(t, w, fail(t, &b, errRefused))
		session(&b, 0)
		require.Equal(t, 6*time.Second, next(t, &b))
		b.Fail(errRefused)
		b.Reset()
		require.Zero(t, next(t, &b))
		require.Equal(t, 6*time.Second, fail(t, &b, errRefused), "Reset keeps the window")
		b.SetWindow(w / 2)
		require.Equal(t, 3*time.Second, fail(t, &b, errRefused), "another window, another phase")
		b.SetWindow(-1)
		require.Greater(t, fail(t, &b, errRefused), 500*time.Millisecond, "off: the schedule")
	})
}
