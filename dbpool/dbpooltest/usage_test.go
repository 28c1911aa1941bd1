package dbpooltest_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// What the package comment shows.
func TestUsage(t *testing.T) {
	srv := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, MaxConns: 50}
	db := sql.OpenDB(srv.Connector())
	require.NoError(t, db.Ping())
	require.NoError(t, db.Close())
}
