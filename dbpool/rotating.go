package dbpool

import (
	"context"
	"database/sql/driver"
	"errors"
)

// Rotating returns a connector that asks next for a connector at each dial, for
// credentials that change: connections that are open stay, and new ones log in with
// the credentials of the moment. The context is that of the dial, and an error of next fails
// the dial as it is. Driver returns d. Connectors that next has returned are not closed,
// so that it may return the same one again. It panics if d or next is nil.
func Rotating(d driver.Driver, next func(context.Context) (driver.Connector, error)) driver.Connector {
	if d == nil {
		panic("dbpool: Rotating with nil driver")
	}
	if next == nil {
		panic("dbpool: Rotating with nil next")
	}
	return rotating{driver: d, next: next}
}

type rotating struct {
	driver driver.Driver
	next   func(context.Context) (driver.Connector, error)
}

func (r rotating) Driver() driver.Driver { return r.driver }

func (r rotating) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := r.next(ctx)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, errors.New("dbpool: next of Rotating returned neither a connector nor an error")
	}
	return c.Connect(ctx)
}
