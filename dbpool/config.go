package dbpool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Config is the size of a pool and the life of its connections. It is a plain,
// comparable value; the presets such as [Server] are a start.
type Config struct {
	// MaxOpen is how many connections a pool may have, at least 1. It is required:
	// zero is an error and never "unlimited", as it is for
	// [database/sql.DB.SetMaxOpenConns]. See [Budget] and [ForLoad] for a number.
	MaxOpen int

	// MaxIdle is how many connections a pool keeps while they are not used. Zero
	// means MaxOpen: with fewer, a pool closes and opens connections whenever its
	// load varies. Below zero none is kept. It must not be above MaxOpen.
	MaxIdle int

	// MaxLifetime is the longest life of a connection, at the end of which it is
	// replaced as soon as it is idle. Zero or less: no limit.
	MaxLifetime time.Duration

	// Jitter is the share of MaxLifetime that is random, so that processes started
	// together do not replace their connections together. [Config.Apply] draws the
	// lifetime once for its pool, from (MaxLifetime*(1-Jitter), MaxLifetime]: only
	// ever shorter. Zero means 0.25. It must be in [0,1); 1e-9 is as good as none.
	Jitter float64

	// MaxIdleTime is how long a connection may be idle before it is closed. Zero or
	// less: no limit.
	MaxIdleTime time.Duration
}

// defaultJitter is ten times that of HikariCP, whose users ask for more
// (brettwooldridge/HikariCP#2004, #2035), and about that of Rails (0.2).
const defaultJitter = 0.25

// FieldError is a value that cannot be used, with its field and the reason.
type FieldError struct {
	Field  string // Field is the name of the field or parameter, with the share's or tenant's name where there is one.
	Value  any    // Value is the value given; a data source name is left out, since it may hold a password.
	Reason string // Reason says why it cannot be used.
	Err    error  // Err is the error behind it, nil if there is none.
}

// Error returns field, value, reason and the error behind it.
func (e *FieldError) Error() string {
	text := "dbpool: " + e.Field
	switch v := e.Value.(type) {
	case nil:
	case string:
		text += fmt.Sprintf(" %q", v)
	default:
		text += fmt.Sprintf(" %v", v)
	}
	text += ": " + e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the error behind it, which may be nil.
func (e *FieldError) Unwrap() error { return e.Err }

// Validate reports everything that is wrong with c: nil, or a [*FieldError] for
// each field, joined.
func (c Config) Validate() error {
	var errs []error
	if c.MaxOpen < 1 {
		errs = append(errs, &FieldError{
			Field: "MaxOpen", Value: c.MaxOpen, Reason: "must be at least 1; there is no unlimited pool",
		})
	}
	if c.MaxIdle > max(c.MaxOpen, 0) {
		errs = append(errs, &FieldError{
			Field: "MaxIdle", Value: c.MaxIdle, Reason: fmt.Sprintf("must not be above MaxOpen, which is %d", c.MaxOpen),
		})
	}
	if !(c.Jitter >= 0 && c.Jitter < 1) { // so that NaN is caught
		errs = append(errs, &FieldError{
			Field: "Jitter", Value: c.Jitter, Reason: "must be in [0,1)",
		})
	}
	return errors.Join(errs...)
}

// Apply validates c and sets it on db, which may be any pool, new or in use. All
// four settings of the pool are set, so that earlier settings are gone. It draws
// a new lifetime each time. Callers that wait for a connection while MaxOpen is
// raised are not woken before the next connection is returned: database/sql has no
// way to do so. A pool that is closed is an error.
func (c Config) Apply(db *sql.DB) error {
	if db == nil {
		return &FieldError{Field: "db", Reason: "must not be nil"}
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if err := closed(db); err != nil {
		return err
	}
	c.set(db)
	return nil
}

// closed returns an error if db is closed. The setters of database/sql panic on a pool
// that has just been closed: they wake its cleaner over a channel that Close closes.
func closed(db *sql.DB) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := db.Conn(ctx) // no connection: the context has ended
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("dbpool: %w", err)
}

// set sets a valid c on db and returns the lifetime that it drew.
func (c Config) set(db *sql.DB) time.Duration {
	c = c.withDefaults()
	lifetime := c.lifetime()
	db.SetMaxOpenConns(c.MaxOpen) // first: database/sql cuts a larger number of idle ones to it
	db.SetMaxIdleConns(c.MaxIdle)
	db.SetConnMaxLifetime(lifetime)
	db.SetConnMaxIdleTime(c.MaxIdleTime)
	return lifetime
}

// withDefaults returns c with its zero fields resolved.
func (c Config) withDefaults() Config {
	if c.MaxIdle == 0 {
		c.MaxIdle = c.MaxOpen
	}
	if c.Jitter == 0 {
		c.Jitter = defaultJitter
	}
	return c
}

// lifetime draws a lifetime from (MaxLifetime*(1-Jitter), MaxLifetime].
func (c Config) lifetime() time.Duration {
	return c.MaxLifetime - time.Duration(rand.Float64()*c.Jitter*float64(c.MaxLifetime))
}

// String returns c in words, defaults resolved: "open 50, idle 50, lifetime 45m0s
// to 1h0m0s, idle time 10m0s".
func (c Config) String() string {
	c = c.withDefaults()
	lifetime, idleTime := "unlimited", "unlimited"
	if c.MaxLifetime > 0 {
		shortest := c.MaxLifetime - time.Duration(c.Jitter*float64(c.MaxLifetime))
		lifetime = fmt.Sprintf("%v to %v", shortest, c.MaxLifetime)
	}
	if c.MaxIdleTime > 0 {
		idleTime = c.MaxIdleTime.String()
	}
	return fmt.Sprintf("open %d, idle %d, lifetime %s, idle time %s", c.MaxOpen, max(0, c.MaxIdle), lifetime, idleTime)
}
