package bench_test

import (
	"testing"
	"time"

	avast "github.com/avast/retry-go/v5"
	cenkalti "github.com/cenkalti/backoff/v7"
	sethvargo "github.com/sethvargo/go-retry"

	"github.com/connhygiene/connhygiene/backoff"
)

// rounds is after how many failures a benchmark of delays begins anew.
const rounds = 8

// BenchmarkDelay is the next delay of a schedule, after one to eight failures.
// failsafe-go does not show its delays.
func BenchmarkDelay(b *testing.B) {
	var sum time.Duration
	for _, lib := range turned([]struct {
		name string
		next func(n int) time.Duration
	}{
		{"ours", backoff.Policy{}.Delay},
		{"cenkalti", func() func(int) time.Duration {
			back := cenkalti.NewExponentialBackOff()
			return func(n int) time.Duration {
				if n == 1 {
					back.Reset()
				}
				return back.NextBackOff()
			}
		}()},
		{"avast", func() func(int) time.Duration {
			r := avast.New()
			delay := avast.CombineDelay(avast.BackOffDelay, avast.RandomDelay)
			return func(n int) time.Duration { return delay(uint(n), nil, r) }
		}()},
		{"sethvargo", func() func(int) time.Duration {
			var back sethvargo.Backoff
			return func(n int) time.Duration {
				if n == 1 { // its Backoffs have no Reset
					back = sethvargo.WithCappedDuration(30*time.Second, sethvargo.WithJitterPercent(50, sethvargo.NewExponential(500*time.Millisecond)))
				}
				d, _ := back.Next()
				return d
			}
		}()},
	}) {
		b.Run("lib="+lib.name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				sum += lib.next(n%rounds + 1)
			}
		})
	}
	_ = sum
}

// BenchmarkFirstTry is an operation that succeeds at once.
func BenchmarkFirstTry(b *testing.B) {
	benchmarkLoops(b, 0)
}

// BenchmarkRetry is an operation that fails three times, with timers that are real
// and as short as can be.
func BenchmarkRetry(b *testing.B) {
	benchmarkLoops(b, 3)
	b.Run("lib=ours-reused", func(b *testing.B) {
		b.ReportAllocs()
		ctx := b.Context()
		loop := backoff.Backoff{Policy: backoff.Policy{Min: 1, Max: 1}}
		for b.Loop() {
			for range 3 {
				loop.Next(ctx)
				loop.Fail(errRefused)
			}
			loop.Next(ctx)
			loop.Fail(nil)
			loop.Reset() // or there would be a fourth wait, for the session that ended
		}
	})
}

// BenchmarkTimer is the floor of BenchmarkRetry: three times a select over one timer
// and a context, and nothing else.
func BenchmarkTimer(b *testing.B) {
	for _, lib := range turned([]struct {
		name  string
		timer func(*time.Timer) *time.Timer
	}{
		{"hand-reused", func(t *time.Timer) *time.Timer {
			t.Reset(1)
			return t
		}},
		{"hand-new", func(*time.Timer) *time.Timer { return time.NewTimer(1) }},
	}) {
		b.Run("lib="+lib.name, func(b *testing.B) {
			b.ReportAllocs()
			ctx := b.Context()
			timer := time.NewTimer(1)
			<-timer.C
			for b.Loop() {
				for range 3 {
					timer = lib.timer(timer)
					select {
					case <-timer.C:
					case <-ctx.Done():
					}
				}
			}
		})
	}
}

func benchmarkLoops(b *testing.B, failures int) {
	for _, r := range turned(retriers) {
		switch r.name {
		case "avast-full", "sethvargo-outer":
			continue // cost what the others of their library cost
		}
		b.Run("lib="+r.name, func(b *testing.B) {
			b.ReportAllocs()
			run := r.new(schedule{1, 1})
			calls := 0
			op := func() error {
				if calls++; calls%(failures+1) != 0 {
					return errRefused
				}
				return nil
			}
			ctx := b.Context()
			for b.Loop() {
				if err := run(ctx, op); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
