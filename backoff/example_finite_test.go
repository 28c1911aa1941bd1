package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

var (
	errUnavailable = errors.New("unavailable")
	errNoSuchUser  = errors.New("no such user")
)

// directory is a remote service that is not always there.
type directory struct{ downFor int }

func (d *directory) lookup(_ context.Context, name string) (int, error) {
	if d.downFor > 0 {
		d.downFor--
		return 0, errUnavailable
	}
	if name != "ada" {
		return 0, errNoSuchUser
	}
	return 36, nil
}

// age tries three times within a minute, a second each. What cannot get better is
// not tried again.
func age(ctx context.Context, d *directory, name string) (int, error) {
	p := backoff.Policy{Min: time.Millisecond, MaxAttempts: 3, MaxElapsed: time.Minute}
	return backoff.Retry(ctx, p, func(ctx context.Context) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		n, err := d.lookup(ctx, name)
		if errors.Is(err, errNoSuchUser) {
			return 0, backoff.Permanent(err)
		}
		return n, err
	})
}

// A call that is worth a few attempts, each with a deadline of its own.
func Example_finite() {
	ctx := context.Background()
	fmt.Println(age(ctx, &directory{downFor: 2}, "ada"))
	fmt.Println(age(ctx, &directory{downFor: 3}, "ada"))
	fmt.Println(age(ctx, &directory{}, "bob"))
	// Output:
	// 36 <nil>
	// 0 backoff: exhausted after 3 attempts: unavailable
	// 0 backoff: permanent failure after 1 attempt: no such user
}
