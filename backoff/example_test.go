package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// bubble runs an example in a testing/synctest bubble, where waiting takes no time.
func bubble(f func(context.Context)) {
	var t testing.T
	synctest.Test(&t, func(t *testing.T) { f(t.Context()) })
}

// The ceilings of the delays, and what is drawn below them.
func ExamplePolicy() {
	exact := backoff.Policy{Min: time.Second, Max: 10 * time.Second, Jitter: -1}
	for n := 1; n <= 6; n++ {
		fmt.Print(exact.Delay(n), " ")
	}
	half := backoff.Policy{Min: time.Second, Max: 10 * time.Second} // Jitter of 0.5
	d := half.Delay(6)
	fmt.Println(d > 5*time.Second && d <= 10*time.Second)
	// Output: 1s 2s 4s 8s 10s 10s true
}

func ExamplePolicy_Delay() {
	var p backoff.Policy // 500ms to 30s
	first, late := p.Delay(1), p.Delay(1000)
	fmt.Println(first > 250*time.Millisecond, first <= 500*time.Millisecond)
	fmt.Println(late > 15*time.Second, late <= 30*time.Second)
	// Output:
	// true true
	// true true
}

func ExampleRetry() {
	calls := 0
	lookup := func(context.Context) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("timeout")
		}
		return "ada", nil
	}
	name, err := backoff.Retry(context.Background(), backoff.Policy{Min: time.Millisecond}, lookup)
	fmt.Println(name, err, calls)
	// Output: ada <nil> 3
}

func ExampleDo() {
	push := func(context.Context) error { return errors.New("disk full") }
	err := backoff.Do(context.Background(), backoff.Policy{Min: time.Millisecond, MaxAttempts: 3}, push)
	fmt.Println(err)
	fmt.Println(errors.Is(err, backoff.ErrExhausted))
	// Output:
	// backoff: exhausted after 3 attempts: disk full
	// true
}

// Both causes are kept: why there is no further attempt, and what the last one failed of.
func ExampleError() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	slow := backoff.Policy{Min: time.Minute, Max: time.Minute}
	err := backoff.Do(ctx, slow, func(context.Context) error { return io.ErrUnexpectedEOF })
	var e *backoff.Error
	if errors.As(err, &e) {
		fmt.Println("attempts:", e.Attempts)
		fmt.Println("last:", e.Last)
		fmt.Println("cause:", e.Cause) // at once: the next attempt could not be in time
	}
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// attempts: 1
	// last: unexpected EOF
	// cause: context deadline exceeded
	// true true
}

func ExamplePermanent() {
	login := func(context.Context) error {
		return fmt.Errorf("login as agent-7: %w", backoff.Permanent(errors.New("token revoked")))
	}
	err := backoff.Do(context.Background(), backoff.Policy{}, login)
	fmt.Println(err)
	fmt.Println(errors.Is(err, backoff.ErrPermanent))
	// Output:
	// backoff: permanent failure after 1 attempt: login as agent-7: token revoked
	// true
}

// What the server asks for comes before the schedule.
func ExampleAfter() {
	bubble(func(ctx context.Context) {
		var b backoff.Backoff
		b.OnWait = func(e backoff.Event) { fmt.Println(e.Delay.Truncate(time.Second), e.Hinted) }
		b.Next(ctx)
		b.Fail(backoff.After(20*time.Second, errors.New("503 Service Unavailable")))
		b.Next(ctx)
	})
	// Output: 20s true
}

// overloaded is an error of a server of one's own, which imports nothing.
type overloaded struct{}

func (overloaded) Error() string             { return "overloaded" }
func (overloaded) RetryAfter() time.Duration { return 3 * time.Second }

func ExampleHint() {
	fmt.Println(backoff.Hint(fmt.Errorf("lookup: %w", overloaded{})))
	fmt.Println(backoff.Hint(io.EOF))
	// Output:
	// 3s true
	// 0s false
}

func ExampleBackoff() {
	ctx, cancel := context.WithCancel(context.Background())
	connect := func(_ context.Context, up func()) error {
		up()
		cancel() // one session is enough for an example
		return errors.New("stream lost")
	}
	var b backoff.Backoff // 500ms to 30s, doubling, half of each delay random
	for b.Next(ctx) {     // waits what is due; false means stop, see b.Err
		err := connect(ctx, b.Up) // calls Up once connected, returns when the stream is lost
		b.Fail(err)
	}
	fmt.Println(b.Err())
	// Output: context canceled after 1 attempt: stream lost
}

// A server that accepts and kills is not hammered: connected is not recovered.
func ExampleBackoff_Up() {
	bubble(func(ctx context.Context) {
		b := backoff.Backoff{Policy: backoff.Policy{Min: time.Second, Jitter: -1}, StableAfter: time.Minute}
		b.OnWait = func(e backoff.Event) { fmt.Println(e.Delay) }
		for _, lived := range []time.Duration{time.Second, time.Second, time.Second, time.Hour} {
			b.Next(ctx)
			b.Up()
			time.Sleep(lived)
			b.Fail(io.EOF)
		}
		b.Next(ctx)
	})
	// Output:
	// 1s
	// 2s
	// 4s
	// 1s
}

// Told that the fleet needs 8s, a client comes at a time of its own within 8s and
// then exactly every 8s, until it is connected.
func ExampleBackoff_SetWindow() {
	bubble(func(ctx context.Context) {
		b := backoff.Backoff{Rand: func() float64 { return 0.25 }} // draws that an example can show
		b.OnWait = func(e backoff.Event) { fmt.Println(e.Delay) }
		b.Next(ctx)
		b.Up()
		b.SetWindow(8 * time.Second)
		for range 3 {
			b.Fail(io.EOF)
			b.Next(ctx)
		}
	})
	// Output:
	// 2s
	// 8s
	// 8s
}

// After the loop has ended, Reset lets it begin again.
func ExampleBackoff_Reset() {
	bubble(func(ctx context.Context) {
		b := backoff.Backoff{Policy: backoff.Policy{MaxAttempts: 3}}
		for b.Next(ctx) {
			b.Fail(io.EOF)
		}
		fmt.Println(b.Err(), b.Failures())
		b.Reset()
		fmt.Println(b.Err(), b.Failures(), b.Next(ctx))
	})
	// Output:
	// backoff: exhausted after 3 attempts: EOF 3
	// <nil> 0 true
}

// A person presses "retry now" in the middle of a wait.
func ExampleBackoff_RetryNow() {
	bubble(func(ctx context.Context) {
		var b backoff.Backoff
		b.Next(ctx)
		b.Fail(backoff.After(time.Minute, io.EOF))
		time.AfterFunc(time.Second, b.RetryNow)
		begun := time.Now()
		fmt.Println(b.Next(ctx), time.Since(begun))
	})
	// Output: true 1s
}

// A job that is logged: OnWait is the hook, and Failures the number of attempts before.
func ExampleBackoff_Do() {
	bubble(func(ctx context.Context) {
		b := backoff.Backoff{Policy: backoff.Policy{Min: 800 * time.Millisecond, Jitter: -1, MaxAttempts: 4}}
		b.OnWait = func(e backoff.Event) {
			fmt.Printf("%v, attempt %d of %d in %v\n", e.Err, e.Attempt, b.Policy.MaxAttempts, e.Delay)
		}
		err := b.Do(ctx, func(context.Context) error {
			if b.Failures() < 2 {
				return io.EOF
			}
			return nil
		})
		fmt.Println(err)
	})
	// Output:
	// EOF, attempt 2 of 4 in 800ms
	// EOF, attempt 3 of 4 in 1.6s
	// <nil>
}

// fibonacci is the schedule of another library.
type fibonacci struct{ before, now time.Duration }

func (f *fibonacci) Reset() { f.before, f.now = 0, time.Second }

func (f *fibonacci) NextBackOff() time.Duration {
	d := f.now
	f.before, f.now = f.now, f.before+f.now
	return d
}

// A schedule of one's own: the limits of Policy still hold.
func ExampleBackoff_schedule() {
	bubble(func(ctx context.Context) {
		var f fibonacci
		b := backoff.Backoff{Policy: backoff.Policy{Max: 4 * time.Second}}
		b.Schedule = func(failures int) time.Duration {
			if failures == 1 { // of a new run
				f.Reset()
			}
			return f.NextBackOff()
		}
		b.OnWait = func(e backoff.Event) { fmt.Println(e.Delay) }
		for range 6 {
			b.Next(ctx)
			b.Fail(io.EOF)
		}
	})
	// Output:
	// 1s
	// 1s
	// 2s
	// 3s
	// 4s
}

// There is no logger: an Event has what a line needs.
func ExampleEvent() {
	bubble(func(ctx context.Context) {
		b := backoff.Backoff{Policy: backoff.Policy{Jitter: -1}}
		b.OnWait = func(e backoff.Event) {
			fmt.Printf("attempt %d in %v, failures: %d, %v\n", e.Attempt, e.Delay, e.Failures, e.Err)
		}
		b.Next(ctx)
		b.Fail(io.EOF)
		b.Next(ctx)
	})
	// Output: attempt 2 in 500ms, failures: 1, EOF
}

// Two places are taken: a client that comes now gets a slot in time.
func ExamplePacer() {
	bubble(func(context.Context) {
		p := backoff.Pacer{MaxPending: 2, Rate: 10}
		for range 5 {
			_, err := p.Enter()
			fmt.Println(err)
		}
	})
	// Output:
	// <nil>
	// <nil>
	// backoff: busy, come back in 100ms
	// backoff: busy, come back in 200ms
	// backoff: busy, come back in 300ms
}

// The server's share of the upstream changes with the number of its replicas.
func ExamplePacer_SetMaxPending() {
	p := backoff.Pacer{MaxPending: 2}
	enter := func() {
		_, err := p.Enter()
		fmt.Println(err == nil)
	}
	enter()
	p.SetMaxPending(1) // a second replica has started
	enter()
	// Output:
	// true
	// false
}

// How long the fleet will need is announced while it is connected.
func ExamplePacer_Window() {
	p := backoff.Pacer{Rate: 80}
	fmt.Println(p.Window(800))
	// Output: 10s
}

func ExampleSlot() {
	var p backoff.Pacer
	login := func(lookup func() error) error {
		slot, err := p.Enter()
		if err != nil {
			return err
		}
		defer slot.Cancel() // does nothing after Done
		if err := lookup(); err != nil {
			return err
		}
		slot.Done()
		return nil
	}
	_ = login(func() error { return nil })
	_ = login(func() error { return context.Canceled })
	s := p.Stats()
	fmt.Println(s.Finished, s.Canceled, s.Pending)
	// Output: 1 1 0
}

func ExampleBusyError() {
	p := backoff.Pacer{MaxPending: 1, Rate: 2}
	_, _ = p.Enter()
	_, err := p.Enter()
	var busy *backoff.BusyError
	if errors.As(err, &busy) {
		fmt.Println("Retry-After-Ms:", busy.RetryAfter().Milliseconds())
	}
	// Output: Retry-After-Ms: 500
}

// The rate is learned while all places are taken.
func ExamplePacerStats() {
	bubble(func(context.Context) {
		p := backoff.Pacer{MaxPending: 1}
		for range 50 {
			slot, _ := p.Enter()
			time.Sleep(25 * time.Millisecond) // the work of an upstream
			slot.Done()
		}
		s := p.Stats()
		fmt.Printf("%d entered, %d finished, %.0f a second\n", s.Entered, s.Finished, s.Rate)
	})
	// Output: 50 entered, 50 finished, 40 a second
}
