//go:build linux

package integration_test

import (
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/XSAM/otelsql"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// Nothing is for PostgreSQL only: the budget of a MariaDB, pools that share it, and
// the error of one that is full.
func TestMariaDB(t *testing.T) {
	const limit = 10
	m := service.StartMariaDB(t, limit)
	base := newMeter(t, "mysql", m.DSN())
	budget, err := dbpool.ServerBudget(t.Context(), base)
	require.NoError(t, err)
	require.Equal(t, dbpool.Budget{MaxConnections: limit}, budget)
	budget.Parallel = 1
	sizes, err := budget.Split(dbpool.Share{Name: "agents", Weight: 3}, dbpool.Share{Name: "api"})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"agents": 6, "api": 2}, sizes)

	// A connection that was closed a moment ago still has its place.
	greedy, stats := openFull(t, base, limit)
	require.Eventually(t, func() bool {
		n, _ := dbpool.Warm(t.Context(), greedy, limit)
		return n == limit
	}, waitLimit, waitTick)
	for range 100 {
		var one int
		require.NoError(t, greedy.QueryRowContext(t.Context(), "select 1").Scan(&one))
	}
	require.EqualValues(t, limit, stats().Opened-stats().Expired, "no connection was opened twice")

	hungry, stats := openFull(t, newMeter(t, "mysql", m.DSN()), limit)
	refused, ok := errors.AsType[*mysql.MySQLError](hungry.PingContext(t.Context()))
	require.True(t, ok)
	require.EqualValues(t, 1040, refused.Number)
	require.EqualValues(t, 1, stats().Overloaded)
}

// A driver in a driver, as tracing has it: its connection arrives as it is, and so
// does the one inside.
func TestTracedDriver(t *testing.T) {
	p := service.StartPostgres(t, 20)
	name, err := otelsql.Register("pgx")
	require.NoError(t, err)
	connector, err := dbpool.DSN(name, p.DSN())
	require.NoError(t, err)
	db, err := dbpool.Open(connector, dbpool.Server(2))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()

	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.Raw(func(dc any) error {
		require.IsType(t, &stdlib.Conn{}, dc.(interface{ Raw() driver.Conn }).Raw())
		return nil
	}))
	var one int
	require.NoError(t, conn.QueryRowContext(t.Context(), "select 1").Scan(&one))
}

// A test of somebody's queries needs no other pool.
func TestMockedDriver(t *testing.T) {
	mocked, mock, err := sqlmock.NewWithDSN(t.Name())
	require.NoError(t, err)
	connector, err := dbpool.DSN("sqlmock", t.Name())
	require.NoError(t, err)
	db, err := dbpool.Open(connector, dbpool.Server(2))
	require.NoError(t, err)

	mock.ExpectQuery("select 1").WillReturnRows(sqlmock.NewRows([]string{"n"}).AddRow(1))
	var one int
	require.NoError(t, db.QueryRowContext(t.Context(), "select 1").Scan(&one))
	require.Equal(t, 1, one)
	mock.ExpectClose()
	require.NoError(t, db.Close())
	mock.ExpectClose()
	require.NoError(t, mocked.Close())
	require.NoError(t, mock.ExpectationsWereMet())
}
