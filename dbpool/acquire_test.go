package dbpool_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// open opens a pool that the test need not close.
func open(t *testing.T, srv *dbpooltest.Server, cfg dbpool.Config) *sql.DB {
	t.Helper()
	db, err := dbpool.Open(srv.Connector(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{QueryTime: time.Minute}
		db := open(t, srv, dbpool.Server(1))
		conn, err := dbpool.Acquire(t.Context(), db, time.Second)
		require.NoError(t, err)
		_, err = conn.ExecContext(t.Context(), "takes a minute")
		require.NoError(t, err, "the wait does not limit the work")

		_, err = dbpool.Acquire(t.Context(), db, time.Second)
		var acquireErr *dbpool.AcquireError
		require.ErrorAs(t, err, &acquireErr)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, acquireErr.Wait)
		require.Equal(t, time.Second, acquireErr.Took)
		require.Equal(t, 1, acquireErr.Stats.InUse)
		require.EqualError(t, err, "dbpool: no connection after 1s, 1 of 1 in use, 0 idle: context deadline exceeded")

		require.NoError(t, conn.Close())
		conn, err = dbpool.Acquire(t.Context(), db, 0)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	})
}

func TestAcquireWithoutWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, new(dbpooltest.Server), dbpool.Server(1))
		conn, err := dbpool.Acquire(t.Context(), db, -1)
		require.NoError(t, err)
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = dbpool.Acquire(ctx, db, -1)
		var acquireErr *dbpool.AcquireError
		require.ErrorAs(t, err, &acquireErr)
		require.Zero(t, acquireErr.Wait)
		require.Equal(t, time.Hour, acquireErr.Took)
	})
}

func TestAcquireKeepsTheErrorOfADial(t *testing.T) {
	var srv dbpooltest.Server
	srv.Refuse(true)
	_, err := dbpool.Acquire(t.Context(), open(t, &srv, dbpool.Server(1)), time.Minute)
	require.Equal(t, "57P03", state(err))
	_, err = dbpool.Acquire(t.Context(), nil, time.Minute)
	require.ErrorContains(t, err, "db: must not be nil")
}

func TestWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond}
		db := open(t, srv, dbpool.Server(20))
		require.NoError(t, db.Ping())
		from := time.Now()
		n, err := dbpool.Warm(t.Context(), db, 9)
		require.NoError(t, err)
		require.Equal(t, 9, n)
		require.Equal(t, 20*time.Millisecond, time.Since(from), "eight more, four at a time")
		require.Equal(t, 9, db.Stats().Idle)
		require.EqualValues(t, 9, srv.Stats().Opened)
		n, err = dbpool.Warm(t.Context(), db, 0)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// A server that refuses is not waited for: the first error ends it.
func TestWarmStopsAtTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond, MaxConns: 6}
		db := open(t, srv, dbpool.Server(20))
		from := time.Now()
		n, err := dbpool.Warm(t.Context(), db, 20)
		require.Equal(t, "53300", state(err))
		require.ErrorContains(t, err, "dbpool: warm: ")
		require.GreaterOrEqual(t, n, 3, "the seventh dial begins when three have ended")
		require.LessOrEqual(t, n, 6)
		require.LessOrEqual(t, time.Since(from), 20*time.Millisecond)
	})
}

func TestWarmEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, &dbpooltest.Server{ConnectTime: time.Second}, dbpool.Server(9))
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		n, err := dbpool.Warm(ctx, db, 9)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 4, n)
	})
}

func TestWarmRefuses(t *testing.T) {
	db := open(t, new(dbpooltest.Server), dbpool.Server(5))
	for _, n := range []int{-1, 6} {
		_, err := dbpool.Warm(t.Context(), db, n)
		require.ErrorContains(t, err, "must be from 0 to MaxOpen, which is 5")
	}
	_, err := dbpool.Warm(t.Context(), nil, 1)
	require.ErrorContains(t, err, "db: must not be nil")
}
