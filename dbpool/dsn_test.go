package dbpool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// oldDriver is one from before there were connectors and contexts.
type oldDriver struct{ server *dbpooltest.Server }

func (d oldDriver) Open(name string) (driver.Conn, error) {
	if name != "dbname=agents" {
		return nil, errReason
	}
	return d.server.Connector().Driver().Open(name)
}

// strictDriver refuses what it does not understand before it dials.
type strictDriver struct{ oldDriver }

func (d strictDriver) OpenConnector(name string) (driver.Connector, error) {
	if name != "dbname=agents" {
		return nil, errReason
	}
	return &closer{Connector: d.server.Connector()}, nil
}

// registered has a server behind two drivers; database/sql takes a name once only.
var registered = sync.OnceValue(func() *dbpooltest.Server {
	srv := new(dbpooltest.Server)
	sql.Register("dbpool-strict", strictDriver{oldDriver{srv}})
	sql.Register("dbpool-old", oldDriver{srv})
	return srv
})

func TestDSN(t *testing.T) {
	srv := registered()
	opened := srv.Stats().Opened
	for _, name := range []string{"dbpool-strict", "dbpool-old"} {
		c, err := dbpool.DSN(name, "dbname=agents")
		require.NoError(t, err)
		require.NotNil(t, c.Driver())
		if made, ok := c.(*closer); ok {
			require.Zero(t, made.closed)
		}
		db, err := dbpool.Open(c, dbpool.Server(1))
		require.NoError(t, err)
		require.NoError(t, db.Ping())
		require.NoError(t, db.Close())
	}
	require.Equal(t, opened+2, srv.Stats().Opened, "DSN does not dial")

	_, err := dbpool.DSN("dbpool-strict", "password=secret")
	var fieldErr *dbpool.FieldError
	require.ErrorAs(t, err, &fieldErr)
	require.Equal(t, "dsn", fieldErr.Field)
	require.ErrorIs(t, err, errReason)
	require.NotContains(t, err.Error(), "secret")

	_, err = dbpool.DSN("dbpool-typo", "dbname=agents")
	require.ErrorAs(t, err, &fieldErr)
	require.Equal(t, "driverName", fieldErr.Field)
	require.Equal(t, "dbpool-typo", fieldErr.Value)
	require.ErrorContains(t, err, `"dbpool-typo": is not one of ["dbpool-old" "dbpool-strict"`)
}

func TestRotating(t *testing.T) {
	var before, after dbpooltest.Server
	current, fail := &before, error(nil)
	c := dbpool.Rotating(before.Connector().Driver(), func(context.Context) (driver.Connector, error) {
		return current.Connector(), fail
	})
	require.Equal(t, before.Connector().Driver(), c.Driver())
	require.NoError(t, connectNow(t, c, 0).err)
	current = &after
	require.NoError(t, connectNow(t, c, 0).err)
	require.EqualValues(t, 1, before.Stats().Opened)
	require.EqualValues(t, 1, after.Stats().Opened)
	require.Equal(t, 1, before.Stats().Open, "what is open stays")

	fail = errReason
	require.Equal(t, errReason, connectNow(t, c, 0).err)
	c = dbpool.Rotating(before.Connector().Driver(), func(context.Context) (driver.Connector, error) { return nil, nil })
	require.ErrorContains(t, connectNow(t, c, 0).err, "neither")
}

func TestOnConnect(t *testing.T) {
	var srv dbpooltest.Server
	var fail error
	seen := 0
	base := &closer{Connector: srv.Connector()}
	c := dbpool.OnConnect(base, func(ctx context.Context, conn driver.Conn) error {
		seen++
		_, err := conn.(driver.ExecerContext).ExecContext(ctx, "set timezone = 'UTC'", nil)
		return errors.Join(err, fail)
	})
	db, err := dbpool.Open(c, dbpool.Server(2))
	require.NoError(t, err)
	require.NoError(t, db.Ping())
	require.NoError(t, db.Ping())
	require.Equal(t, 1, seen, "once for each connection")
	require.EqualValues(t, 1, srv.Stats().Queries)

	fail = errReason
	conn, err := db.Conn(t.Context())
	require.NoError(t, err, "the one that is open")
	require.ErrorIs(t, db.Ping(), errReason)
	require.Equal(t, 1, srv.Stats().Open, "the other was closed")
	require.NoError(t, conn.Close())
	require.NoError(t, db.Close())
	require.Equal(t, 1, base.closed)

	srv.Refuse(true)
	require.Equal(t, "57P03", state(connectNow(t, c, 0).err))
	require.Equal(t, 2, seen, "not without a connection")
	require.Equal(t, srv.Connector().Driver(), c.Driver())
	require.NoError(t, dbpool.OnConnect(srv.Connector(), func(context.Context, driver.Conn) error { return nil }).(io.Closer).Close())
}

func TestOnConnectThatPanics(t *testing.T) {
	var srv dbpooltest.Server
	c := dbpool.OnConnect(srv.Connector(), func(context.Context, driver.Conn) error { panic("no luck") })
	require.PanicsWithValue(t, "no luck", func() { _, _ = c.Connect(t.Context()) })
	require.Zero(t, srv.Stats().Open)
}

// nothing is a driver that forgets to say what went wrong.
type nothing struct{ driver.Connector }

func (nothing) Connect(context.Context) (driver.Conn, error) { return nil, nil }

func TestOnConnectWithoutConnection(t *testing.T) {
	c := dbpool.OnConnect(nothing{}, func(_ context.Context, conn driver.Conn) error {
		return conn.Close()
	})
	require.ErrorContains(t, connectNow(t, c, 0).err, "neither a connection nor an error")
}

func TestNilsOfConnectors(t *testing.T) {
	c := new(dbpooltest.Server).Connector()
	require.PanicsWithValue(t, "dbpool: Rotating with nil driver", func() { dbpool.Rotating(nil, nil) })
	require.PanicsWithValue(t, "dbpool: Rotating with nil next", func() { dbpool.Rotating(c.Driver(), nil) })
	require.PanicsWithValue(t, "dbpool: OnConnect with nil base", func() { dbpool.OnConnect(nil, nil) })
	require.PanicsWithValue(t, "dbpool: OnConnect with nil f", func() { dbpool.OnConnect(c, nil) })
}
