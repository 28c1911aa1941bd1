package backoff_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// seeded is a generator of its own for client i.
func seeded(i int) func() float64 { return rand.New(rand.NewPCG(uint64(i), 1)).Float64 }

// always returns u.
func always(u float64) func() float64 { return func() float64 { return u } }

// next is how long Next waits. It must return true.
func next(t *testing.T, b *backoff.Backoff) time.Duration {
	t.Helper()
	begun := time.Now()
	require.True(t, b.Next(t.Context()), "%v", b.Err())
	return time.Since(begun)
}

// fail fails and returns the wait after it.
func fail(t *testing.T, b *backoff.Backoff, err error) time.Duration {
	t.Helper()
	b.Fail(err)
	return next(t, b)
}

// failed fails n attempts in a row, of which the last one is not waited for.
func failed(t *testing.T, b *backoff.Backoff, n int) {
	t.Helper()
	for range n - 1 {
		fail(t, b, errRefused)
	}
	b.Fail(errRefused)
}

// session lives for d and is lost.
func session(b *backoff.Backoff, d time.Duration) {
	b.Up()
	time.Sleep(d)
	b.Fail(errRefused)
}

// waits is the nth wait of many Backoffs that fail again and again.
func waits(t *testing.T, clients, nth int, p backoff.Policy) []time.Duration {
	i := 0
	return sample(clients, func() time.Duration {
		i++
		b := backoff.Backoff{Policy: p, Rand: seeded(i)}
		require.Zero(t, next(t, &b))
		var d time.Duration
		for range nth {
			d = fail(t, &b, errRefused)
		}
		return d
	})
}

func TestZeroBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff.Backoff
		require.NoError(t, b.Err())
		require.Zero(t, next(t, &b), "the first attempt is due at once")
		for n, ceiling := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
			d := fail(t, &b, errRefused)
			require.Equal(t, n+1, b.Failures())
			require.Greater(t, d, ceiling/2)
			require.LessOrEqual(t, d, ceiling)
		}
		require.NoError(t, b.Err())
	})
}

// The first delay of grpc-go is 1s for all.
func TestFirstDelaysDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := waits(t, 800, 1, backoff.Policy{})
		requireUniform(t, 250*time.Millisecond, 500*time.Millisecond, first)
		seen := map[time.Duration]bool{}
		for _, d := range first {
			require.False(t, seen[d], "%v twice", d)
			seen[d] = true
		}
		requireUniform(t, 15*time.Second, 30*time.Second, waits(t, 800, 9, backoff.Policy{}))
	})
}

func TestUpForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact, Splay: time.Hour}
		next(t, &b)
		require.Equal(t, time.Second, fail(t, &b, errRefused))
		require.Equal(t, 2*time.Second, fail(t, &b, errRefused))
		b.Up()
		require.Equal(t, 2, b.Failures())
		time.Sleep(8*time.Second - 1)
		require.Equal(t, 2, b.Failures())
		require.Equal(t, 4*time.Second, fail(t, &b, errRefused), "neither forgotten nor splayed")
		require.Equal(t, 3, b.Failures())
	})
}

func TestStableSessionForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact}
		next(t, &b)
		for range 3 {
			fail(t, &b, errRefused)
		}
		b.Up()
		time.Sleep(4 * time.Second)
		b.Up() // again: it is the first that counts
		time.Sleep(4 * time.Second)
		require.Zero(t, b.Failures(), "a session that has lived StableAfter")
		require.Equal(t, time.Second, fail(t, &b, errRefused), "its loss is failure 1 of a new run")
		require.Equal(t, 1, b.Failures())
		require.Equal(t, 2*time.Second, fail(t, &b, errRefused))
	})
}

func TestStableAfter(t *testing.T) {
	for _, given := range []struct {
		after, most, lived time.Duration
		forgets            bool
	}{
		{0, 0, 30*time.Second - 1, false},
		{0, 0, 30 * time.Second, true},
		{0, 7 * time.Second, 7*time.Second - 1, false},
		{0, 7 * time.Second, 7 * time.Second, true},
		{0, -1, 30*time.Second - 1, false},
		{0, -1, 30 * time.Second, true},
		{time.Minute, time.Second, time.Minute - 1, false},
		{time.Minute, time.Second, time.Minute, true},
		{1, 0, 0, false},
		{1, 0, 1, true},
		{-1, 0, 1000 * time.Hour, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := backoff.Backoff{Policy: backoff.Policy{Max: given.most}, StableAfter: given.after}
			next(t, &b)
			fail(t, &b, errRefused)
			session(&b, given.lived)
			require.Equal(t, given.forgets, b.Failures() == 1, "%+v", given)
		})
	}
}

func TestNextWithoutFailIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact}
		require.Zero(t, next(t, &b))
		require.Equal(t, time.Second, next(t, &b))
		require.Equal(t, 2*time.Second, next(t, &b))
		require.Equal(t, 4*time.Second, fail(t, &b, nil), "a clean end is a loss as well")
		b.Up()
		time.Sleep(time.Minute)
		require.Equal(t, time.Second, next(t, &b), "a stable session as well")
	})
}

func TestFailBeforeTheFirstNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact}
		require.Equal(t, time.Second, fail(t, &b, errRefused))
		require.Equal(t, 1, b.Failures())
	})
}

func TestSplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := 0
		lost := sample(2000, func() time.Duration {
			i++
			b := backoff.Backoff{Policy: exact, Splay: 10 * time.Second, Rand: seeded(i)}
			require.Zero(t, next(t, &b), "the first attempt is not spread")
			session(&b, time.Minute)
			d := next(t, &b)
			require.Equal(t, 2*time.Second, fail(t, &b, errRefused), "one attempt is, and then the schedule goes on")
			return d
		})
		requireUniform(t, 0, 10*time.Second, lost)
	})
}

func TestSplayOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, off := range []time.Duration{0, -1, math.MinInt64} {
			b := backoff.Backoff{Policy: exact, Splay: off, SplayFirst: true}
			require.Zero(t, next(t, &b))
			session(&b, time.Minute)
			require.Equal(t, time.Second, next(t, &b))
		}
	})
}

func TestSplayFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := 0
		requireUniform(t, 0, 10*time.Second, sample(2000, func() time.Duration {
			i++
			b := backoff.Backoff{Splay: 10 * time.Second, SplayFirst: true, Rand: seeded(i)}
			return next(t, &b)
		}))
		b := backoff.Backoff{Splay: 10 * time.Second, SplayFirst: true, Rand: always(0.5)}
		require.Equal(t, 5*time.Second, next(t, &b))
		b.Fail(errRefused)
		b.Reset()
		require.Equal(t, 5*time.Second, next(t, &b))
		b.SetWindow(time.Second)
		b.Reset()
		require.Equal(t, 500*time.Millisecond, next(t, &b), "what a server says comes first")
		b = backoff.Backoff{Splay: 10 * time.Second, SplayFirst: true, Rand: always(0.5)}
		b.SetWindow(time.Second)
		require.Equal(t, 500*time.Millisecond, next(t, &b), "for the very first attempt as well")
	})
}

func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		poke := func(after time.Duration) {
			time.AfterFunc(after, func() { wake <- struct{}{} })
		}
		b := backoff.Backoff{Policy: exact, Splay: time.Hour, Rand: always(0.5), Wake: wake}
		next(t, &b)
		poke(time.Millisecond)
		require.Equal(t, time.Millisecond, fail(t, &b, errRefused), "the schedule")
		require.Equal(t, 2*time.Second, fail(t, &b, errRefused), "once")
		session(&b, time.Hour)
		poke(time.Millisecond)
		require.Equal(t, time.Millisecond, next(t, &b), "the splay")

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		b.Fail(errRefused)
		require.False(t, b.Next(ctx), "the context all the same")
		b.Reset()
		next(t, &b)

		poke(time.Millisecond)
		require.Equal(t, 10500*time.Millisecond, fail(t, &b, backoff.After(10*time.Second, errRefused)), "never a hint")
		<-wake
		b.SetWindow(time.Minute)
		poke(time.Millisecond)
		require.Equal(t, 30*time.Second, fail(t, &b, errRefused), "never a window")
		b.SetWindow(0)
		require.Zero(t, fail(t, &b, errRefused), "what waits in the channel is taken later")
		close(wake)
		for range 3 {
			require.Equal(t, 8*time.Second, fail(t, &b, errRefused), "a closed channel is none")
		}
	})
}

func TestOnWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []backoff.Event
		b := backoff.Backoff{Policy: exact, Rand: always(0), StableAfter: time.Minute}
		b.OnWait = func(e backoff.Event) {
			got = append(got, e)
			b.Failures() // no lock is held
		}
		next(t, &b)
		fail(t, &b, backoff.After(time.Minute, errRefused))
		fail(t, &b, fmt.Errorf("login: %w", backoff.After(time.Millisecond, errBad)))
		session(&b, time.Hour)
		next(t, &b)
		next(t, &b)
		require.Len(t, got, 4)
		require.ErrorIs(t, got[1].Err, errBad)
		require.EqualError(t, got[1].Err, "login: bad password")
		got[1].Err = nil
		require.Equal(t, []backoff.Event{
			{Attempt: 2, Failures: 1, Err: errRefused, Delay: time.Minute, Hinted: true},
			{Attempt: 3, Failures: 2, Delay: time.Millisecond, Hinted: true},
			{Attempt: 4, Failures: 1, Err: errRefused, Delay: time.Second},
			{Attempt: 5, Failures: 2, Delay: 2 * time.Second},
		}, got)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.Fail(errRefused)
		require.False(t, b.Next(ctx))
		require.Len(t, got, 4, "a wait that is not begun")
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact
		p.MaxAttempts = 1
		b := backoff.Backoff{Policy: p}
		next(t, &b)
		b.Fail(backoff.After(time.Minute, errRefused))
		require.False(t, b.Next(t.Context()))
		b.Reset()
		require.Zero(t, b.Failures())
		require.NoError(t, b.Err())
		require.Zero(t, next(t, &b))
		b.Reset() // beside an attempt, which can fail all the same
		b.Fail(errRefused)
		require.False(t, b.Next(t.Context()))
		require.Equal(t, &backoff.Error{Last: errRefused, Cause: backoff.ErrExhausted}, b.Err())
	})
}
