package dbpool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
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

func TestAcquireKeepsTheCause(t *testing.T) {
	cause := errors.New("shutdown")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := dbpool.Acquire(ctx, open(t, new(dbpooltest.Server), dbpool.Server(1)), time.Minute)
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, context.Canceled)
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

// A pool takes what there is: dials that are under way when one fails are not given
// up, and none is begun afterwards.
func TestWarmKeepsWhatThereIs(t *testing.T) {
	const room = 5
	for _, parallel := range []int{1, 2, 4, 8, -1} {
		for _, login := range []time.Duration{0, 10 * time.Millisecond, 5 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				srv := &dbpooltest.Server{ConnectTime: login, MaxConns: room}
				db, err := dbpool.Open(dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: parallel, Timeout: time.Minute}), dbpool.Server(8))
				require.NoError(t, err)
				defer db.Close()
				from := time.Now()
				n, err := dbpool.Warm(t.Context(), db, 8)
				require.Equal(t, "53300", state(err))
				require.ErrorContains(t, err, "dbpool: warm: ")
				require.Equal(t, room, n)
				require.LessOrEqual(t, time.Since(from), room*login, "a failure is not waited out")
				require.Equal(t, room, db.Stats().Idle)
				require.Equal(t, room, srv.Stats().Open)
				require.LessOrEqual(t, srv.Stats().Full, uint64(3))
			})
		}
	}
}

// Without a connector in the chain each dial stands for itself.
func TestWarmOfAnyPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Second, MaxConns: 5}
		db := sql.OpenDB(srv.Connector())
		defer db.Close()
		require.NoError(t, dbpool.Server(8).Apply(db))
		n, err := dbpool.Warm(t.Context(), db, 8)
		require.Equal(t, "53300", state(err))
		require.Equal(t, 5, n)
	})
}

// Callers of the pool wait for the next dial as ever while a Warm beside them fails.
func TestWarmEndsNobodyElsesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond, MaxConns: 1}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 1, Backoff: exact})
		db, err := dbpool.Open(c, dbpool.Server(8))
		require.NoError(t, err)
		defer db.Close()
		held, err := db.Conn(t.Context())
		require.NoError(t, err)
		warm := make(chan error, 1)
		go func() {
			_, err := dbpool.Warm(t.Context(), db, 3)
			warm <- err
		}()
		synctest.Wait()
		query := make(chan error, 1)
		go func() {
			query <- db.PingContext(t.Context())
		}()
		require.Equal(t, "53300", state(<-warm))
		require.ErrorIs(t, held.Raw(func(any) error { return driver.ErrBadConn }), driver.ErrBadConn) // room again
		require.NoError(t, <-query)
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
