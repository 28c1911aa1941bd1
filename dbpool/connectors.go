package dbpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
)

// DSN returns a connector for the data source of a driver that was registered with
// [database/sql.Register], as [database/sql.Open] would use it. It does not dial.
// The error is a [*FieldError] for a driver of that name that does not exist, or for
// a data source name that the driver refuses; some drivers look at theirs only when
// they dial. A driver of the old kind, without [driver.DriverContext], ignores the
// context of a dial: the [Connector] around it copes.
func DSN(driverName, dsn string) (driver.Connector, error) {
	if !slices.Contains(sql.Drivers(), driverName) {
		return nil, &FieldError{
			Field: "driverName", Value: driverName,
			Reason: fmt.Sprintf("is not one of %q; forgotten import?", sql.Drivers()),
		}
	}
	db, err := sql.Open(driverName, dsn) // the only way to a driver by name
	if err != nil {
		return nil, refused(err)
	}
	d := db.Driver()
	_ = db.Close()
	modern, ok := d.(driver.DriverContext)
	if !ok {
		return old{driver: d, dsn: dsn}, nil
	}
	c, err := modern.OpenConnector(dsn) // a new one: Close may have closed the other
	if err != nil {
		return nil, refused(err)
	}
	return c, nil
}

// refused leaves the data source name out: it may hold a password.
func refused(err error) error {
	return &FieldError{Field: "dsn", Reason: "the driver refuses it", Err: err}
}

// old is a connector for drivers from before there were connectors.
type old struct {
	driver driver.Driver
	dsn    string
}

func (o old) Connect(context.Context) (driver.Conn, error) { return o.driver.Open(o.dsn) }
func (o old) Driver() driver.Driver                        { return o.driver }

// Rotating returns a connector that asks next for a connector at each dial, for
// credentials that change: connections that are open stay, and new ones log in with
// what is valid then. The context is that of the dial, and an error of next fails
// the dial as it is. Driver returns d. Whatever next returns is not closed, so that it
// may return the same one again. It panics if d or next is nil.
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

// OnConnect returns a connector that calls f with each new connection, to set up
// its session. The connection is the driver's own. If f fails, the connection is closed
// and the dial fails with an error that wraps f's. The context is that of the dial,
// and f should obey it. Closing the connector closes base, if that is an
// [io.Closer]. It panics if base or f is nil.
//
// Put it inside of [NewConnector]: what f costs the server is then behind the gate.
func OnConnect(base driver.Connector, f func(context.Context, driver.Conn) error) driver.Connector {
	if base == nil {
		panic("dbpool: OnConnect with nil base")
	}
	if f == nil {
		panic("dbpool: OnConnect with nil f")
	}
	return &onConnect{base: base, f: f}
}

type onConnect struct {
	base driver.Connector
	f    func(context.Context, driver.Conn) error
}

func (o *onConnect) Driver() driver.Driver    { return o.base.Driver() }
func (o *onConnect) Unwrap() driver.Connector { return o.base }

func (o *onConnect) Close() error {
	if closer, ok := o.base.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func (o *onConnect) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := o.base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if conn == nil {
		return nil, errNoResult
	}
	ready := false
	defer func() { // also if f panics
		if !ready {
			_ = conn.Close()
		}
	}()
	if err := o.f(ctx, conn); err != nil {
		return nil, fmt.Errorf("dbpool: OnConnect: %w", err)
	}
	ready = true
	return conn, nil
}
