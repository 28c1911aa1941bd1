//go:build linux

package integration_test

import (
	"context"
	"database/sql/driver"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "github.com/lib/pq"              // driver "postgres"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
)

// drivers are the names under which database/sql knows pgx and lib/pq.
var drivers = []string{"pgx", "postgres"}

// A meter counts the dials that reach a driver. It stands below a pool, so that it
// means the same for every pool. The driver's connections pass through as they are.
type meter struct {
	driver.Connector
	dials, opened, full atomic.Int64
}

// newMeter returns a connector of the named driver that counts.
func newMeter(t *testing.T, driverName, dsn string) *meter {
	t.Helper()
	c, err := dbpool.DSN(driverName, dsn)
	require.NoError(t, err)
	return &meter{Connector: c}
}

// Connect implements [driver.Connector].
func (m *meter) Connect(ctx context.Context) (driver.Conn, error) {
	m.dials.Add(1)
	conn, err := m.Connector.Connect(ctx)
	switch {
	case err == nil:
		m.opened.Add(1)
	case sqlState(err) == tooManyConnections:
		m.full.Add(1)
	}
	return conn, err
}
