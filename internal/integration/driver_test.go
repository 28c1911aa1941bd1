//go:build linux

package integration_test

import (
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// The documentation of pgx shows how to reach what database/sql hides, such as
// COPY. A pool that wraps connections breaks it at run time.
func TestRawYieldsTheDriversConnection(t *testing.T) {
	p := service.StartPostgres(t, 20)
	connector, err := dbpool.DSN("pgx", p.DSN())
	require.NoError(t, err)
	db, err := dbpool.Open(connector, dbpool.Server(2))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()

	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = conn.ExecContext(t.Context(), "create temporary table agents (name text)")
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(dc any) error {
		rows := pgx.CopyFromRows([][]any{{"a"}, {"b"}, {"c"}})
		n, err := dc.(*stdlib.Conn).Conn().CopyFrom(t.Context(), pgx.Identifier{"agents"}, []string{"name"}, rows)
		require.EqualValues(t, 3, n)
		return err
	}))
	var n int
	require.NoError(t, conn.QueryRowContext(t.Context(), "select count(*) from agents").Scan(&n))
	require.Equal(t, 3, n)
}

// Pools whose sum is above the server's limit: the last ones to come get no
// connection, and the default Overload knows the error of both drivers.
func TestFullServerIsOverload(t *testing.T) {
	const usable = 5
	p := service.StartPostgres(t, usable+3) // and three for superusers
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			greedy, _ := openFull(t, newMeter(t, driver, p.DSN()), usable)
			base := newMeter(t, driver, p.DSN())
			hungry, stats := openFull(t, base, usable)

			// A connection that was closed a moment ago still has its place.
			require.Eventually(t, func() bool {
				n, _ := dbpool.Warm(t.Context(), greedy, usable)
				return n == usable
			}, waitLimit, waitTick)

			err := hungry.PingContext(t.Context())
			require.Equal(t, tooManyConnections, sqlState(err), "%v", err)
			require.EqualValues(t, 1, base.full.Load())
			require.EqualValues(t, 1, stats().Overloaded)
			require.EqualValues(t, 1, stats().Failed)

			// A superuser still gets in: the server is full, not down.
			admin := sql.OpenDB(newMeter(t, driver, p.AdminDSN()))
			require.NoError(t, admin.PingContext(t.Context()))
			require.NoError(t, admin.Close())
		})
	}
}

// openFull opens a pool of n connections and returns its dial figures as well.
func openFull(t *testing.T, m *meter, n int) (*sql.DB, func() dbpool.DialStats) {
	t.Helper()
	connector := dbpool.NewConnector(m, dbpool.Dial{})
	db, err := dbpool.Open(connector, dbpool.Server(n))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db, connector.Stats
}
