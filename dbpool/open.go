package dbpool

import (
	"database/sql"
	"database/sql/driver"
	"time"
)

// Open returns a pool on c with the settings of cfg. It does not dial. The pool dials
// through c if c is a [*Connector], or a connector around one whose Unwrap method leads to
// it, and else through NewConnector(c, Dial{}). The error is that of [Config.Validate], or a
// [*FieldError] for a nil connector; c is then as it was.
//
// [database/sql.DB.Close] of the pool closes the connector.
func Open(c driver.Connector, cfg Config) (*sql.DB, error) {
	if own, ok := c.(*Connector); c == nil || ok && own == nil {
		return nil, &FieldError{Field: "connector", Reason: "must not be nil"}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	own := connectorOf(c)
	if own == nil {
		own = NewConnector(c, Dial{})
		c = own
	}
	db := sql.OpenDB(c)
	own.serve(db, cfg.set(db))
	return db, nil
}

// serve tells the connector of the pool that Flush is to empty.
func (c *Connector) serve(db *sql.DB, lifetime time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pool = &flusher{db: db, lifetime: lifetime}
}

// connectorOf returns the Connector in a chain, or nil.
func connectorOf(c driver.Connector) *Connector {
	for c != nil {
		if own, ok := c.(*Connector); ok {
			return own
		}
		wrapper, ok := c.(interface{ Unwrap() driver.Connector })
		if !ok {
			return nil
		}
		c = wrapper.Unwrap()
	}
	return nil
}
