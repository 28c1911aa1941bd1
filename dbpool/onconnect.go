package dbpool

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
)

// OnConnect returns a connector that calls f with each new connection, to set up
// its session. The connection is the driver's own. If f fails, the connection is closed
// and the dial fails with an error that wraps f's. The context is that of the dial,
// and f should obey it. Closing the connector closes base, if that is an
// [io.Closer]. It panics if base or f is nil.
//
// Put it below [NewConnector], as its base: the work of f is then under the limit on
// dials.
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
