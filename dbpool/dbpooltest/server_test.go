package dbpooltest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

const (
	full     = "53300"
	starting = "57P03"
	killed   = "57P01"
)

// state returns the SQLSTATE of an error, or "".
func state(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// dial opens a connection that the test need not close.
func dial(t *testing.T, srv *dbpooltest.Server) driver.Conn {
	t.Helper()
	conn, err := srv.Connector().Connect(t.Context())
	require.NoError(t, err)
	return conn
}

// query executes one query on a connection and waits for its answer.
func query(ctx context.Context, conn driver.Conn) error {
	_, err := conn.(driver.QueryerContext).QueryContext(ctx, "select 1", nil)
	return err
}

func TestZeroServerIsInstantAndUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		from := time.Now()
		for range 1000 {
			require.NoError(t, query(t.Context(), dial(t, &srv)))
		}
		require.Zero(t, time.Since(from))
		require.Equal(t, dbpooltest.Stats{
			Opened: 1000, Queries: 1000, Open: 1000, PeakOpen: 1000, PeakDialing: 1,
		}, srv.Stats())
	})
}

func TestTimesAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, QueryTime: 3 * time.Millisecond}
		from := time.Now()
		conn := dial(t, srv)
		require.Equal(t, 8*time.Millisecond, time.Since(from))
		require.NoError(t, query(t.Context(), conn))
		require.Equal(t, 11*time.Millisecond, time.Since(from))
	})
}

func TestFullServerCountsDialsInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Second, MaxConns: 2}
		dial(t, srv)
		go srv.Connector().Connect(t.Context())
		synctest.Wait()
		_, err := srv.Connector().Connect(t.Context())
		require.Equal(t, full, state(err), "%v", err)
		require.ErrorContains(t, err, "too many clients")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, dbpooltest.Stats{
			Opened: 2, Full: 1, Open: 2, PeakOpen: 2, PeakDialing: 1,
		}, srv.Stats())
	})
}

func TestCloseFreesThePlaceOnce(t *testing.T) {
	srv := &dbpooltest.Server{MaxConns: 1}
	conn := dial(t, srv)
	require.NoError(t, conn.Close())
	require.NoError(t, conn.Close())
	require.ErrorIs(t, query(t.Context(), conn), driver.ErrBadConn)
	stats := srv.Stats()
	require.EqualValues(t, 1, stats.Closed)
	require.Zero(t, stats.Open)
	dial(t, srv)
}

func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Second}
		inProgress := make(chan error, 1)
		go func() {
			_, err := srv.Connector().Connect(t.Context())
			inProgress <- err
		}()
		open := dial(t, srv)
		synctest.Wait()
		go func() {
			_, err := srv.Connector().Connect(t.Context())
			inProgress <- err
		}()
		require.NoError(t, <-inProgress) // begun with the first
		synctest.Wait()
		srv.Refuse(true)
		from := time.Now()
		_, err := srv.Connector().Connect(t.Context())
		require.Equal(t, starting, state(err), "%v", err)
		require.Zero(t, time.Since(from), "a refused dial takes no time")
		require.Equal(t, starting, state(<-inProgress))
		require.NoError(t, query(t.Context(), open), "what is open stays open")
		require.EqualValues(t, 2, srv.Stats().Refused)
		srv.Refuse(false)
		dial(t, srv)
	})
}

func TestHangingDialEndsWithItsContextAndHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{MaxConns: 1}
		srv.Hang(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error)
		go func() {
			_, err := srv.Connector().Connect(ctx)
			ended <- err
		}()
		synctest.Wait()
		srv.Hang(false)
		dial(t, srv)
		from := time.Now()
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(from))
		require.Zero(t, srv.Stats().Dialing)
	})
}

func TestKillIsSeenAtTheNextUse(t *testing.T) {
	srv := &dbpooltest.Server{MaxConns: 1}
	conn := dial(t, srv)
	srv.Kill()
	require.True(t, conn.(driver.Validator).IsValid(), "nothing was tried yet")
	require.Zero(t, srv.Stats().Open)
	require.ErrorIs(t, query(t.Context(), conn), driver.ErrBadConn)
	require.False(t, conn.(driver.Validator).IsValid())
	require.NoError(t, conn.Close())
	require.EqualValues(t, 1, srv.Stats().Closed)
}

func TestKillInterruptsQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{QueryTime: time.Hour}
		conn := dial(t, srv)
		ended := make(chan error)
		go func() { ended <- query(t.Context(), conn) }()
		synctest.Wait()
		srv.Kill()
		err := <-ended
		require.Equal(t, killed, state(err), "%v", err)
		require.NotErrorIs(t, err, driver.ErrBadConn, "the query may have been executed: no retry")
		require.False(t, conn.(driver.Validator).IsValid())
	})
}

func TestPoolSurvivesKill(t *testing.T) {
	var srv dbpooltest.Server
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	require.NoError(t, db.PingContext(t.Context()))
	srv.Kill()
	_, err := db.ExecContext(t.Context(), "update agents set seen = now()")
	require.NoError(t, err, "database/sql retries on a new connection")
	require.EqualValues(t, 2, srv.Stats().Opened)
}

// A query's deadline costs its connection, as with every driver.
func TestEndOfContextLosesTheConnection(t *testing.T) {
	for _, noCancel := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			srv := &dbpooltest.Server{QueryTime: time.Minute, MaxConns: 1, NoCancel: noCancel}
			conn := dial(t, srv)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, query(ended, conn), context.Canceled)
			require.True(t, conn.(driver.Validator).IsValid(), "nothing was sent")

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			from := time.Now()
			require.ErrorIs(t, query(ctx, conn), context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Since(from), "the caller does not wait")
			require.False(t, conn.(driver.Validator).IsValid())
			require.NoError(t, conn.Close())

			_, err := srv.Connector().Connect(t.Context())
			if !noCancel {
				require.NoError(t, err)
				require.Zero(t, srv.Stats().Lingering)
				return
			}
			require.Equal(t, full, state(err), "the query is still executed")
			require.Equal(t, 1, srv.Stats().Lingering)
			time.Sleep(time.Minute - time.Second)
			dial(t, srv)
		})
	}
}

func TestAbandonedDialHoldsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Minute, MaxConns: 1}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := srv.Connector().Connect(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, srv.Stats().Lingering)
		_, err = srv.Connector().Connect(t.Context())
		require.Equal(t, full, state(err))
		time.Sleep(time.Minute - time.Second)
		require.Zero(t, srv.Stats().Lingering)
		dial(t, srv)
	})
}

// The usual ways to use a pool work on the fixture.
func TestAnswers(t *testing.T) {
	srv := &dbpooltest.Server{MaxConns: 50}
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	var one int
	require.NoError(t, db.QueryRow("select $1", "x").Scan(&one))
	require.Equal(t, 1, one)

	prepared, err := db.Prepare("select $1")
	require.NoError(t, err)
	require.NoError(t, prepared.QueryRow(7).Scan(&one))
	_, err = prepared.Exec(7)
	require.NoError(t, err)
	require.NoError(t, prepared.Close())

	tx, err := db.Begin()
	require.NoError(t, err)
	result, err := tx.Exec("delete from agents")
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.NoError(t, tx.Commit())
	tx, err = db.Begin()
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())

	var limit string
	require.NoError(t, db.QueryRow("select setting from pg_settings").Scan(new(string), &limit))
	require.Equal(t, "50", limit)
	require.EqualValues(t, 5, srv.Stats().Queries)
}

func TestDriverOpensByName(t *testing.T) {
	var srv dbpooltest.Server
	conn, err := srv.Connector().Driver().Open("any name")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.EqualValues(t, 1, srv.Stats().Opened)
}
