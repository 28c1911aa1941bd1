package dbpool_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
)

// connectFunc is a connector made of a function.
type connectFunc func(context.Context) (driver.Conn, error)

func (f connectFunc) Connect(ctx context.Context) (driver.Conn, error) { return f(ctx) }
func (f connectFunc) Driver() driver.Driver                            { return nil }

// deaf makes a connector of a driver that ignores contexts.
func deaf(base driver.Connector) driver.Connector {
	return connectFunc(func(ctx context.Context) (driver.Conn, error) {
		return base.Connect(context.WithoutCancel(ctx))
	})
}

// timed records when dials reach the driver.
type timed struct {
	driver.Connector
	from time.Time

	mu    sync.Mutex // guards the fields below
	times []time.Duration
}

func record(base driver.Connector) *timed { return &timed{Connector: base, from: time.Now()} }

func (r *timed) Connect(ctx context.Context) (driver.Conn, error) {
	r.mu.Lock()
	r.times = append(r.times, time.Since(r.from))
	r.mu.Unlock()
	return r.Connector.Connect(ctx)
}

func (r *timed) dials() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Duration(nil), r.times...)
}

// exact is a schedule of 1s, 2s, 4s, 8s, 8s ... without jitter.
var exact = backoff.Policy{Min: time.Second, Max: 8 * time.Second, Jitter: -1}

// A call is one Connect in the background.
type call struct {
	conn driver.Conn
	err  error
	took time.Duration
}

// connect calls Connect in the background, with a deadline unless it is zero.
func connect(t *testing.T, c driver.Connector, deadline time.Duration) <-chan call {
	t.Helper()
	done := make(chan call, 1)
	go func() { done <- connectNow(t, c, deadline) }()
	return done
}

// connectNow is connect and waits.
func connectNow(t *testing.T, c driver.Connector, deadline time.Duration) call {
	t.Helper()
	ctx := t.Context()
	if deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	from := time.Now()
	conn, err := c.Connect(ctx)
	return call{conn, err, time.Since(from)}
}

// state returns the SQLSTATE in an error, or "".
func state(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// shut closes a connector and wants it to be quick.
func shut(t *testing.T, c *dbpool.Connector) {
	t.Helper()
	from := time.Now()
	require.NoError(t, c.Close())
	require.Zero(t, time.Since(from))
	stats := c.Stats()
	require.Zero(t, stats.Dialing)
	require.Zero(t, stats.Waiting)
	require.Zero(t, stats.Spare)
}
