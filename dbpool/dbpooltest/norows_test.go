package dbpooltest_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// new(Result) is what the package comment advises for code that scans other columns than one.
func TestWithoutRows(t *testing.T) {
	var name string
	var size int
	scan := func(answer func(string) (*dbpooltest.Result, error)) error {
		db := sql.OpenDB((&dbpooltest.Server{Answer: answer}).Connector())
		defer db.Close()
		_, err := db.Exec("create table t (name text, size int)")
		require.NoError(t, err)
		return db.QueryRow("select name, size from t").Scan(&name, &size)
	}
	require.ErrorContains(t, scan(nil), "expected 1 destination arguments in Scan")
	none := func(string) (*dbpooltest.Result, error) { return new(dbpooltest.Result), nil }
	require.ErrorIs(t, scan(none), sql.ErrNoRows)
}
