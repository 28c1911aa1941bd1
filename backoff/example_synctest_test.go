package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// reconnect is what is to be tested.
func reconnect(ctx context.Context, dial func() error) error {
	b := backoff.Backoff{Policy: backoff.Policy{MaxElapsed: time.Hour}}
	for b.Next(ctx) {
		err := dial()
		if err == nil {
			return nil
		}
		b.Fail(err)
	}
	return b.Err()
}

// In a testing/synctest bubble an hour of waiting takes no time: no clock has to be
// replaced, and no delay to be shortened.
func Example_synctest() {
	var t testing.T // a test has its own
	synctest.Test(&t, func(t *testing.T) {
		began, dials := time.Now(), 0
		err := reconnect(t.Context(), func() error {
			dials++
			return errors.New("connection refused")
		})
		fmt.Println(errors.Is(err, backoff.ErrExhausted))
		fmt.Println(time.Since(began) > 59*time.Minute, dials > 100)
	})
	// Output:
	// true
	// true true
}
