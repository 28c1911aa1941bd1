//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// A load is what the workers of a service do: query, think, query again. Without
// think time a pool never has an idle connection to close, and hides how it churns.
type load struct {
	query    string
	workers  int           // for each pool
	think    time.Duration // mean of an exponential distribution; 0 none
	deadline time.Duration // of one query, its connection included; 0 none
	queries  int           // in all, failed ones too; 0: until ctx is done
}

// An outcome is what a load got.
type outcome struct {
	ok, failed int
	full       int   // of failed: the server had no connection left
	err        error // of the last failure
	took       time.Duration
}

func (o outcome) perSecond() float64 { return float64(o.ok) / o.took.Seconds() }

// run plays the load on all pools at once.
func (l load) run(ctx context.Context, pools ...*sql.DB) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu   sync.Mutex // guards total
		all  outcome
		wg   sync.WaitGroup
		from = time.Now()
	)
	count := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return // the end of the load, not an outcome
		case err == nil:
			all.ok++
		default:
			all.failed++
			all.err = err
			if sqlState(err) == tooManyConnections {
				all.full++
			}
		}
		if all.ok+all.failed == l.queries {
			cancel()
		}
	}
	for _, db := range pools {
		for range l.workers {
			wg.Go(func() {
				for pause(ctx, time.Duration(rand.ExpFloat64()*float64(l.think))) {
					count(l.once(ctx, db))
				}
			})
		}
	}
	wg.Wait()
	all.took = time.Since(from)
	return all
}

// once is one query.
func (l load) once(ctx context.Context, db *sql.DB) error {
	if l.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.deadline)
		defer cancel()
	}
	_, err := db.ExecContext(ctx, l.query)
	return err
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// How long a test waits for what must come, and how often it looks.
const (
	waitLimit = 20 * time.Second
	waitTick  = 10 * time.Millisecond
)

// tooManyConnections is the SQLSTATE of a server that is full.
const tooManyConnections = "53300"

// sqlState returns the code that pgx and lib/pq give an error of the server.
func sqlState(err error) string {
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return state.SQLState()
	}
	return ""
}

// measure calls a measurement until it returns nil, three times at most: the
// machine is shared, and one bad second proves nothing.
func measure(t *testing.T, once func(t *testing.T) error) {
	t.Helper()
	if testing.Short() {
		t.Skip("a comparison under load takes seconds")
	}
	var err error
	for i := range 3 {
		if err = once(t); err == nil {
			return
		}
		t.Logf("measurement %d: %v", i+1, err)
	}
	t.Fatal(err)
}
