package dbpooltest_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

func TestAnswer(t *testing.T) {
	born := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	srv := &dbpooltest.Server{Answer: func(query string) (*dbpooltest.Result, error) {
		switch query {
		case "agents":
			return &dbpooltest.Result{Columns: []string{"id", "name", "born"}, Rows: [][]any{{1, "a", born}, {2, nil, nil}}}, nil
		case "short":
			return &dbpooltest.Result{Columns: []string{"id", "name"}, Rows: [][]any{{1}}}, nil
		case "odd":
			return &dbpooltest.Result{Columns: []string{"id"}, Rows: [][]any{{make(chan int)}}}, nil
		case "delete":
			return &dbpooltest.Result{Affected: 7}, nil
		case "insert":
			return nil, &dbpooltest.Error{Code: "25006", Message: "read-only"}
		}
		return nil, nil
	}}
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	db.SetMaxOpenConns(1)
	rows, err := db.Query("agents")
	require.NoError(t, err)
	defer rows.Close()
	names := make(map[int]string)
	for rows.Next() {
		var id int
		var name sql.NullString
		require.NoError(t, rows.Scan(&id, &name, new(sql.NullTime)))
		names[id] = name.String
	}
	require.NoError(t, rows.Err())
	require.Equal(t, map[int]string{1: "a", 2: ""}, names)

	require.ErrorContains(t, db.QueryRow("short").Scan(new(int), new(string)), "a row of 1 values for 2 columns")
	require.ErrorContains(t, db.QueryRow("odd").Scan(new(int)), "column id: unsupported type")
	result, err := db.Exec("delete")
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 7, n)
	_, err = db.Exec("insert")
	var failed *dbpooltest.Error
	require.True(t, errors.As(err, &failed))
	require.EqualError(t, err, "dbpooltest: ERROR: read-only (SQLSTATE 25006)")
	require.Equal(t, "25006", state(err))
	var one int
	require.NoError(t, db.QueryRow("anything").Scan(&one))
	require.Equal(t, 1, one)
	require.EqualValues(t, 1, srv.Stats().Opened, "errors cost no connection")
}
