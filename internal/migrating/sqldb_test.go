package migrating

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
)

func openBefore(driverName, dsn string) (*sql.DB, error) {
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(50)
	db.SetMaxIdleConns(10) // the other 40 are closed and dialed again, all day
	db.SetConnMaxLifetime(time.Hour)
	return db, nil
}

func openAfter(driverName, dsn string) (*sql.DB, error) {
	connector, err := dbpool.DSN(driverName, dsn)
	if err != nil {
		return nil, err
	}
	return dbpool.Open(connector, dbpool.Server(50)) // four dials at once, one at a time while the server is away
}

func configuredBefore(driverName, dsn string, open, idle int) (*sql.DB, error) {
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(open) // 0: no limit
	db.SetMaxIdleConns(idle) // 0: none; more than open: open
	return db, nil
}

func configuredAfter(driverName, dsn string, open, idle int) (*sql.DB, error) {
	connector, err := dbpool.DSN(driverName, dsn)
	if err != nil {
		return nil, err
	}
	if idle == 0 {
		idle = -1 // none; but why? leave this out, and all are kept
	}
	return dbpool.Open(connector, dbpool.Config{MaxOpen: open, MaxIdle: min(idle, open)}) // open 0 is an error: there is no unlimited pool
}

func resizeBefore(db *sql.DB) {
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
}

func resizeAfter(db *sql.DB) error {
	return dbpool.PgBouncer(20).Apply(db) // any pool, in use as well
}

// The server limits 100 connections, and three processes of this service share them.
func sizeAfter() (map[string]int, error) {
	budget := dbpool.Budget{MaxConnections: 100, Reserved: 10, Replicas: 3, Parallel: 2}
	return budget.Split(dbpool.Share{Name: "logins", Weight: 2}, dbpool.Share{Name: "api", Weight: 3})
}

func TestSQLDB(t *testing.T) {
	for name, open := range map[string]func(_, _ string) (*sql.DB, error){"before": openBefore, "after": openAfter} {
		t.Run(name, func(t *testing.T) {
			db, err := open("fake", "dsn")
			require.NoError(t, err)
			defer db.Close()
			require.NoError(t, db.PingContext(t.Context()))
			require.Equal(t, 50, db.Stats().MaxOpenConnections)
			resizeBefore(db)
			require.Equal(t, 20, db.Stats().MaxOpenConnections)
			db.SetMaxOpenConns(50)
			require.NoError(t, resizeAfter(db))
			require.Equal(t, 20, db.Stats().MaxOpenConnections)
		})
	}
}

// Both keep as many idle connections, for any configuration but that without a limit.
func TestConfigured(t *testing.T) {
	for _, tc := range []struct{ open, idle, kept int }{{5, 0, 0}, {5, 3, 3}, {5, 5, 5}, {5, 9, 5}, {5, -1, 0}} {
		for name, open := range map[string]func(_, _ string, open, idle int) (*sql.DB, error){"before": configuredBefore, "after": configuredAfter} {
			db, err := open("fake", "dsn", tc.open, tc.idle)
			require.NoError(t, err, "%s %v", name, tc)
			n, err := dbpool.Warm(t.Context(), db, tc.open)
			require.NoError(t, err)
			require.Equal(t, tc.open, n)
			require.Equal(t, tc.kept, db.Stats().Idle, "%s %v", name, tc)
			require.NoError(t, db.Close())
		}
	}
	_, err := configuredAfter("fake", "dsn", 0, 2)
	require.ErrorContains(t, err, "MaxOpen 0")
}

func TestSize(t *testing.T) {
	sizes, err := sizeAfter()
	require.NoError(t, err)
	t.Log(sizes)
	require.LessOrEqual(t, 3*(sizes["logins"]+sizes["api"]+2*2), 90)
}
