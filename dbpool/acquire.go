package dbpool

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// AcquireError is why [Acquire] has no connection, and what the pool looked like.
type AcquireError struct {
	Wait  time.Duration // Wait is the limit that was given, 0 if there was none.
	Took  time.Duration // Took is how long the caller waited.
	Stats sql.DBStats   // Stats are the pool's figures when he gave up.
	Err   error         // Err is the reason: the end of the wait or of the context, or the error of a dial.
}

// Error returns the reason and how many connections were in use.
func (e *AcquireError) Error() string {
	return fmt.Sprintf("dbpool: no connection after %v, %d of %d in use, %d idle: %v",
		e.Took.Round(time.Millisecond), e.Stats.InUse, e.Stats.MaxOpenConnections, e.Stats.Idle, e.Err)
}

// Unwrap returns the reason.
func (e *AcquireError) Unwrap() error { return e.Err }

// Acquire takes a connection from db and waits at most so long for it: the time for
// a connection is limited apart from the time for the work, as a full pool and a
// slow query want different answers. With a wait of zero or less only ctx limits it.
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
		return nil, &AcquireError{Wait: max(0, wait), Took: time.Since(from), Stats: db.Stats(), Err: err}
	}
	return conn, nil
}

// Warm opens connections until the pool has n, and returns how many it has got: n,
// or fewer and the error of the first that failed, upon which the others are given
// up. It holds all of them for a moment, so that it belongs before the first use of
// a pool. Dials go through the gate of the pool's connector. The error is a
// [*FieldError] if n is negative or above the pool's MaxOpen. Warm keeps no more
// than MaxIdle of them open.
func Warm(ctx context.Context, db *sql.DB, n int) (int, error) {
	if db == nil {
		return 0, &FieldError{Field: "db", Reason: "must not be nil"}
	}
	if limit := db.Stats().MaxOpenConnections; n < 0 || limit > 0 && n > limit {
		return 0, &FieldError{Field: "n", Value: n, Reason: fmt.Sprintf("must be from 0 to MaxOpen, which is %d", limit)}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
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
				cancel()
			}
		})
	}
	wg.Wait()
	for _, conn := range held {
		_ = conn.Close() // returns it to the pool
	}
	return len(held), first
}
