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
	return dbpool.Open(connector, dbpool.Server(50)) // four dials at once, one probe at a time while the server is away
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

func TestSize(t *testing.T) {
	sizes, err := sizeAfter()
	require.NoError(t, err)
	t.Log(sizes)
	require.LessOrEqual(t, 3*(sizes["logins"]+sizes["api"]+2*2), 90)
}
