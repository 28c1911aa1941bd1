//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// Sixteen idle connections fall silent at once, side by side: how many queries of three
// seconds fail in a row. This is the test that somebody writes for a client of their own.
func TestSilenceBesidePeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := func(dial func(*dbpooltest.Server) dialFunc, opened bool) int {
			srv := new(dbpooltest.Server)
			base := pgxOver(t, "postgres://user@127.0.0.1/postgres?sslmode=disable", dial(srv))
			db := sql.OpenDB(base)
			if opened {
				require.NoError(t, db.Close())
				var err error
				db, err = dbpool.Open(base, dbpool.Server(silentIdle))
				require.NoError(t, err)
			}
			require.NoError(t, dbpool.Server(silentIdle).Apply(db))
			n, err := dbpool.Warm(t.Context(), db, silentIdle)
			require.NoError(t, err)
			require.Equal(t, silentIdle, n)
			srv.Vanish()
			failed, _ := inARowOf(t, 3*time.Second, func(ctx context.Context) error {
				_, err := db.ExecContext(ctx, "update agents set seen = now()")
				return err
			})
			require.NoError(t, db.Close())
			time.Sleep(time.Minute) // pgx ends lost connections in the background
			return failed
		}
		plain := func(srv *dbpooltest.Server) dialFunc { return srv.Dial }
		ours := func(srv *dbpooltest.Server) dialFunc { return dbpool.TCP{Dial: srv.Dial}.Dialer() }
		sqlDB, peer, both, dialer := pool(plain, false), pgxPool(t, plain), pool(ours, true), pgxPool(t, ours)
		t.Logf("database/sql %d, pgxpool %d, dbpool with Dialer %d, pgxpool with Dialer %d", sqlDB, peer, both, dialer)
		require.Equal(t, silentIdle, sqlDB)
		require.Equal(t, 1, both)
		require.LessOrEqual(t, dialer, 2, "pgxpool may have one more in hand when the Dialer closes the others")
	})
}

func pgxPool(t *testing.T, dial func(*dbpooltest.Server) dialFunc) int {
	t.Helper()
	srv := new(dbpooltest.Server)
	cfg, err := pgxpool.ParseConfig("postgres://user@127.0.0.1/postgres?sslmode=disable")
	require.NoError(t, err)
	cfg.ConnConfig.DialFunc = dial(srv)
	cfg.MaxConns, cfg.MinConns = silentIdle, silentIdle
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	time.Sleep(2 * cfg.HealthCheckPeriod)
	require.EqualValues(t, silentIdle, pool.Stat().IdleConns())
	srv.Vanish()
	failed, _ := inARowOf(t, 3*time.Second, pool.Ping)
	pool.Close()
	time.Sleep(time.Minute)
	return failed
}
