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

// failInARow counts the queries of three seconds that fail before one succeeds.
func failInARow(t *testing.T, db *sql.DB, failed func()) int {
	t.Helper()
	for n := range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := db.ExecContext(ctx, "update")
		cancel()
		if err == nil {
			return n
		}
		failed()
	}
	return 100
}

func TestSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			failed func(*sql.DB)
			want   int
		}{
			{func(*sql.DB) {}, 16},
			{func(db *sql.DB) { require.Equal(t, 15, dbpool.Suspect(t.Context(), db)) }, 1},
		} {
			srv := new(dbpooltest.Server)
			db := open(t, srv, dbpool.Server(16))
			_, err := dbpool.Warm(t.Context(), db, 16)
			require.NoError(t, err)
			srv.Vanish()
			require.Equal(t, tc.want, failInARow(t, db, func() {
				from := time.Now()
				tc.failed(db)
				require.LessOrEqual(t, time.Since(from), time.Second)
			}))
			require.Zero(t, dbpool.Suspect(t.Context(), db))
		}
	})
}

// What is slow, or busy, or none at all, loses nothing.
func TestSuspectNoFalseAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{QueryTime: 10 * time.Second}
		db := open(t, srv, dbpool.Server(16))
		_, err := dbpool.Warm(t.Context(), db, 16)
		require.NoError(t, err)
		busy := make(chan error, 1)
		go func() {
			_, err := db.ExecContext(t.Context(), "update")
			busy <- err
		}()
		synctest.Wait()
		for range 3 {
			require.Zero(t, dbpool.Suspect(t.Context(), db))
		}
		require.NoError(t, <-busy)
		require.EqualValues(t, 16, srv.Stats().Opened)
		require.Equal(t, 16, srv.Stats().Open)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.Zero(t, dbpool.Suspect(ended, db), "nothing was tried")
		require.Zero(t, dbpool.Suspect(t.Context(), nil))
		require.NoError(t, db.Close())
		require.Zero(t, dbpool.Suspect(t.Context(), db))
	})
}
