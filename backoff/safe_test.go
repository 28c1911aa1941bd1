package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// FuzzBackoff lets a client with any configuration live through anything.
func FuzzBackoff(f *testing.F) {
	const s = int64(time.Second)
	everything := []byte("fuNfNhNwNuzfNNrNcNpN")
	crashes := []byte("NufNufNusfNusfNusfNfNfN")
	for _, v := range []int64{0, 1, -1, s, math.MaxInt64, math.MinInt64} {
		for _, x := range []float64{0, 0.5, 1, -1, math.NaN(), math.Inf(1)} {
			f.Add(v, v, x, x, v, v, v, x, everything)
			f.Add(s, s, x, x, v, int64(1), v, 0.0, crashes)
			f.Add(int64(1), int64(1), 2.0, 1.0, int64(1), v, int64(1), x, crashes)
		}
	}
	f.Add(int64(1), int64(1), 2.0, 1.0, int64(1), int64(0), int64(1), 0.5, []byte("NwNcrNN"))
	f.Fuzz(func(t *testing.T, least, most int64, factor, jitter float64, splay, stable, asked int64, u float64, life []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := backoff.Backoff{
				Policy: backoff.Policy{
					Min: time.Duration(least), Max: time.Duration(most), Factor: factor, Jitter: jitter,
					MaxElapsed: time.Duration(asked) / 2, MaxHint: time.Duration(splay),
				},
				Splay: time.Duration(splay), StableAfter: time.Duration(stable),
				SplayFirst: splay%2 == 0, Rand: always(u),
			}
			hot := false // the last wait was none, after a failure
			b.OnWait = func(e backoff.Event) {
				if e.Delay < 0 || e.Delay == 0 && hot && e.Failures > 0 {
					t.Fatalf("%+v\n%+v\nafter a wait of zero: %t", &b, e, hot)
				}
				hot = e.Delay == 0 && e.Failures > 0
			}
			for _, event := range life[:min(len(life), 200)] {
				hot = hot && event != 'r' // what was before a Reset is forgotten
				happen(t, &b, event, time.Duration(asked))
			}
		})
	})
}

// happen is one event in the life of a client.
func happen(t *testing.T, b *backoff.Backoff, event byte, asked time.Duration) {
	switch event {
	case 'f':
		b.Fail(errRefused)
	case 'h':
		b.Fail(backoff.After(asked, errRefused))
	case 'p':
		b.Fail(backoff.Permanent(errRefused))
	case 'u':
		b.Up()
	case 'w':
		b.SetWindow(asked)
	case 'z':
		b.SetWindow(0)
	case 's':
		time.Sleep(time.Nanosecond)
	case 'r':
		b.Reset()
	case 'c':
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, b.Next(ctx))
		require.Error(t, b.Err())
	default:
		// Waits of centuries are not begun: the clock of a bubble ends in 2262.
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
		defer cancel()
		if b.Next(ctx) == (b.Err() != nil) {
			t.Fatalf("stopped without an error, or not at all: %v", b.Err())
		}
	}
}

// FuzzHint finds a hint in any tree of errors.
func FuzzHint(f *testing.F) {
	for _, d := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, int64(time.Second)} {
		f.Add(d, []byte("wjpw"))
		f.Add(d, []byte(""))
	}
	f.Fuzz(func(t *testing.T, asked int64, tree []byte) {
		err := backoff.After(time.Duration(asked), errRefused)
		for _, branch := range tree[:min(len(tree), 50)] {
			switch branch {
			case 'j':
				err = errors.Join(errBad, err)
			case 'p':
				err = backoff.Permanent(err)
			default:
				err = fmt.Errorf("wrapped: %w", err)
			}
		}
		want := max(time.Duration(asked), 0)
		if d, ok := backoff.Hint(err); d != want || ok != (want > 0) || !errors.Is(err, errRefused) {
			t.Fatalf("hint %v, %t of %d in %v", d, ok, asked, err)
		}
	})
}

// noHint is an answer without the header, and what caused it.
type noHint struct{ error }

func (e noHint) Unwrap() error           { return e.error }
func (noHint) RetryAfter() time.Duration { return 0 }

func TestHint(t *testing.T) {
	for _, none := range []error{nil, errRefused, errors.Join(errRefused, errBad), retryAfter(0), retryAfter(-1)} {
		d, ok := backoff.Hint(none)
		require.False(t, ok)
		require.Zero(t, d)
	}
	d, ok := backoff.Hint(fmt.Errorf("theirs: %w", retryAfter(time.Minute)))
	require.True(t, ok)
	require.Equal(t, time.Minute, d)
	d, _ = backoff.Hint(backoff.After(time.Second, retryAfter(time.Minute)))
	require.Equal(t, time.Second, d, "the outermost one")
	for _, err := range []error{
		errors.Join(retryAfter(0), errBad, fmt.Errorf("theirs: %w", retryAfter(time.Minute)), retryAfter(time.Hour)),
		noHint{retryAfter(time.Minute)},
	} {
		d, _ = backoff.Hint(err)
		require.Equal(t, time.Minute, d, "one that asks for nothing hides none")
	}
	require.Equal(t, errBad, backoff.After(0, errBad))
	require.NoError(t, backoff.After(time.Second, nil))
	require.NoError(t, backoff.Permanent(nil))
	require.ErrorIs(t, backoff.Permanent(errBad), backoff.ErrPermanent)
	require.EqualError(t, backoff.Permanent(backoff.After(time.Second, errBad)), errBad.Error(), "marks add no text")
}

// retryAfter is an error of another package.
type retryAfter time.Duration

func (retryAfter) Error() string               { return "overloaded" }
func (d retryAfter) RetryAfter() time.Duration { return time.Duration(d) }

// Two sessions that end as they begin, and whose losses are splayed to nothing, are a
// hot loop.
func TestNoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Policy: exact, Splay: 1, StableAfter: 1}
		next(t, &b)
		for range 3 {
			session(&b, 1)
			require.Zero(t, next(t, &b))
			session(&b, 1)
			require.Equal(t, time.Second, next(t, &b))
		}
		b.SetWindow(1)
		for range 3 {
			require.Positive(t, fail(t, &b, errRefused))
		}
	})
}

func TestAnyRand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for u, want := range map[float64]time.Duration{
			0: 8 * time.Second, -1: 8 * time.Second, math.NaN(): 8 * time.Second, math.Inf(-1): 8 * time.Second,
			0.5: 4 * time.Second, 1: 1, 2: 1, math.Inf(1): 1,
		} {
			b := backoff.Backoff{Policy: backoff.Policy{Min: 8 * time.Second, Jitter: 1}, Rand: always(u)}
			require.Zero(t, next(t, &b))
			require.Equal(t, want, fail(t, &b, errRefused), u)
		}
	})
}

// A client with one connection gains nothing from a budget or a throttle: it would only
// come back later (3.75 times later for 800 agents, never for 100,000).
func TestThereIsNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff.Backoff
		next(t, &b)
		failed(t, &b, 10_000)
		next(t, &b)
		requireUniform(t, 15*time.Second, 30*time.Second, sample(2000, func() time.Duration { return fail(t, &b, errRefused) }))
		require.Equal(t, 12_000, b.Failures())
	})
}

// An announcement arrives on the goroutine that reads the stream.
func TestMethodsBesideNext(t *testing.T) {
	b := backoff.Backoff{Policy: backoff.Policy{Min: 1, Max: 1000}, Splay: 1000, StableAfter: 1}
	done := make(chan struct{})
	var beside sync.WaitGroup
	for i := range 3 {
		beside.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				b.SetWindow(time.Duration(i))
				b.Up()
				b.Fail(errRefused)
				_, _ = b.Failures(), b.Err()
				b.Reset()
			}
		})
	}
	for range 2000 {
		require.True(t, b.Next(t.Context()))
		b.Up()
		b.Fail(errRefused)
	}
	close(done)
	beside.Wait()
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx := t.Context()
	quick := backoff.Policy{Min: 1, Max: 1}
	b := backoff.Backoff{Policy: quick}
	require.True(t, b.Next(ctx))
	require.Zero(t, testing.AllocsPerRun(200, func() {
		b.Fail(errRefused)
		b.Next(ctx)
		b.Up()
	}), "a loop over a Backoff")

	calls, until := 0, 1
	op := func(context.Context) (int, error) {
		if calls++; calls%until != 0 {
			return 0, errRefused
		}
		return calls, nil
	}
	do := func(context.Context) error { return nil }
	require.Zero(t, testing.AllocsPerRun(200, func() { _, _ = backoff.Retry(ctx, quick, op) }), "success at once")
	require.Zero(t, testing.AllocsPerRun(200, func() { _ = backoff.Do(ctx, quick, do) }), "success at once")
	until = 4
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _, _ = backoff.Retry(ctx, quick, op) }), 3.0, "one timer")
}
