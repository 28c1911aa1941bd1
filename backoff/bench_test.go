package backoff_test

import (
	"context"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// quick has waits that are real and as short as can be.
var quick = backoff.Policy{Min: 1, Max: 1}

func BenchmarkDelay(b *testing.B) {
	for name, p := range map[string]backoff.Policy{"zero": {}, "factor=1.5": {Factor: 1.5}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var sum time.Duration
			for n := 0; b.Loop(); n++ {
				sum += p.Delay(n & 7)
			}
			_ = sum
		})
	}
}

func BenchmarkRetry(b *testing.B) {
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		op := func(context.Context) (int, error) { return 42, nil }
		for b.Loop() {
			_, _ = backoff.Retry(b.Context(), quick, op)
		}
	})
	b.Run("fourth", func(b *testing.B) {
		b.ReportAllocs()
		calls := 0
		op := func(context.Context) (int, error) {
			if calls++; calls%4 != 0 {
				return 0, errRefused
			}
			return 42, nil
		}
		for b.Loop() {
			_, _ = backoff.Retry(b.Context(), quick, op)
		}
	})
}

// BenchmarkBackoff is three failures and a session in a loop that goes on for ever.
func BenchmarkBackoff(b *testing.B) {
	b.ReportAllocs()
	ctx := b.Context()
	loop := backoff.Backoff{Policy: quick}
	for b.Loop() {
		for range 3 {
			loop.Next(ctx)
			loop.Fail(errRefused)
		}
		loop.Next(ctx)
		loop.Up()
	}
}

func BenchmarkPacer(b *testing.B) {
	b.Run("enter", func(b *testing.B) {
		b.ReportAllocs()
		var p backoff.Pacer
		for b.Loop() {
			s, _ := p.Enter()
			s.Done()
		}
	})
	b.Run("busy", func(b *testing.B) {
		b.ReportAllocs()
		p := backoff.Pacer{MaxPending: 1}
		_, _ = p.Enter()
		for b.Loop() {
			_, _ = p.Enter()
		}
	})
}
