package dbpool

import (
	"database/sql"
	"database/sql/driver"
)

// Open returns a pool on c with the settings of cfg. Unless c is a [*Connector], or
// a connector around one whose Unwrap method leads to it, the pool dials through
// NewConnector(c, Dial{}). It does not dial. The error is that of
// [Config.Validate], or a [*FieldError] for a nil connector; c is then as it was.
//
// [database/sql.DB.Close] of the pool closes the connector.
func Open(c driver.Connector, cfg Config) (*sql.DB, error) {
	if own, ok := c.(*Connector); c == nil || ok && own == nil {
		return nil, &FieldError{Field: "connector", Reason: "must not be nil"}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if !polite(c) {
		c = NewConnector(c, Dial{})
	}
	db := sql.OpenDB(c)
	if err := cfg.Apply(db); err != nil {
		return nil, err
	}
	return db, nil
}

// polite reports whether there is a Connector in the chain already.
func polite(c driver.Connector) bool {
	for c != nil {
		if _, ok := c.(*Connector); ok {
			return true
		}
		wrapper, ok := c.(interface{ Unwrap() driver.Connector })
		if !ok {
			return false
		}
		c = wrapper.Unwrap()
	}
	return false
}
