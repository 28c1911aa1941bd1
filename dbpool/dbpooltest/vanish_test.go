package dbpooltest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

func TestVanishIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{MaxConns: 1}
		conn := dial(t, srv)
		srv.Vanish()
		require.Zero(t, srv.Stats().Open, "the place is free")
		second := dial(t, srv)
		require.NoError(t, query(t.Context(), second), "what is new works")

		require.True(t, conn.(driver.Validator).IsValid(), "nobody was told")
		require.NoError(t, conn.(driver.SessionResetter).ResetSession(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		from := time.Now()
		require.ErrorIs(t, conn.(driver.Pinger).Ping(ctx), context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(from))
		require.False(t, conn.(driver.Validator).IsValid(), "its protocol stands in the middle of an answer")
		from = time.Now()
		require.NoError(t, conn.Close())
		require.Zero(t, time.Since(from))
		require.EqualValues(t, 1, srv.Stats().Closed)
		require.Equal(t, 1, srv.Stats().Open)

		srv.Vanish()
		srv.Vanish()
		srv.Kill() // knows nothing of it
		from = time.Now()
		require.ErrorIs(t, query(t.Context(), second), syscall.ETIMEDOUT)
		require.Equal(t, 15*time.Minute, time.Since(from), "the kernel gives up")
	})
}

func TestVanishReachesQueriesInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{QueryTime: time.Second}
		conn := dial(t, srv)
		ended := make(chan error)
		from := time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			ended <- query(ctx, conn)
		}()
		synctest.Wait()
		srv.Vanish()
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(from), "its answer never comes")
	})
}

// A transaction has no context to end it.
func TestVanishedTransactionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := new(dbpooltest.Server)
		db := sql.OpenDB(srv.Connector())
		defer db.Close()
		tx, err := db.Begin()
		require.NoError(t, err)
		srv.Vanish()
		require.ErrorIs(t, tx.Commit(), syscall.ETIMEDOUT)
	})
}
