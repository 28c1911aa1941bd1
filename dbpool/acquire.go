package dbpool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// AcquireError is the reason for which [Acquire] has no connection, and the state of the pool.
type AcquireError struct {
	Wait  time.Duration // Wait is the limit that was given, 0 if there was none.
	Took  time.Duration // Took is how long the caller waited.
	Stats sql.DBStats   // Stats are the pool's figures when the caller gave up.
	Err   error         // Err is the reason: the end of the wait, or of the context with its cause, or the error of a dial.
}

// Error returns the reason and how many connections were in use.
func (e *AcquireError) Error() string {
	return fmt.Sprintf("dbpool: no connection after %v, %d of %d in use, %d idle: %v",
		e.Took.Round(time.Millisecond), e.Stats.InUse, e.Stats.MaxOpenConnections, e.Stats.Idle, e.Err)
}

// Unwrap returns the reason.
func (e *AcquireError) Unwrap() error { return e.Err }

// Acquire takes a connection from db and waits for it at most for wait. So the time for
// a connection and the time for the work have limits of their own: a service answers
// "busy" to the one and "too slow" to the other. With a wait of zero or less only ctx
// limits it.
// The error is an [*AcquireError], which wraps [context.DeadlineExceeded] if the wait
// was too long. The caller closes the connection, which returns it to the pool.
func Acquire(ctx context.Context, db *sql.DB, wait time.Duration) (*sql.Conn, error) {
	if db == nil {
		return nil, &FieldError{Field: "db", Reason: "must not be nil"}
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	if wait > 0 {
		limited, cancel = context.WithTimeout(ctx, wait)
	}
	defer cancel()
	from := time.Now()
	conn, err := db.Conn(limited)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return nil, &AcquireError{Wait: max(0, wait), Took: time.Since(from), Stats: db.Stats(), Err: err}
	}
	return conn, nil
}

// Warm opens connections until the pool has n, and returns how many it has got: n,
// or fewer and the error of the first dial that failed. Dials that are under way when
// one fails are waited for, so that of a server with room for five a pool of eight
// gets five; no more are begun then. Warm holds all of the connections for a moment,
// so call it before the pool is used. Dials obey the limits of the pool's
// [Connector]. The error is a [*FieldError] if n is negative or above the pool's
// MaxOpen. The pool keeps no more than MaxIdle of the connections open.
func Warm(ctx context.Context, db *sql.DB, n int) (int, error) {
	if db == nil {
		return 0, &FieldError{Field: "db", Reason: "must not be nil"}
	}
	if limit := db.Stats().MaxOpenConnections; n < 0 || limit > 0 && n > limit {
		return 0, &FieldError{Field: "n", Value: n, Reason: fmt.Sprintf("must be from 0 to MaxOpen, which is %d", limit)}
	}
	ctx = context.WithValue(ctx, warmKey{}, new(warming))
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards held and first
		held  []*sql.Conn
		first error
	)
	for range n {
		wg.Go(func() {
			conn, err := db.Conn(ctx)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				held = append(held, conn)
			case first == nil:
				first = fmt.Errorf("dbpool: warm: %w", err)
			}
		})
	}
	wg.Wait()
	for _, conn := range held {
		_ = conn.Close() // returns it to the pool
	}
	return len(held), first
}

// warming is known to the calls of Connect that one Warm makes: they want no second
// try, and share the failure of a dial instead of waiting for the next.
type warming struct {
	failed bool // guarded by the mutex of the Connector
}

type warmKey struct{}
