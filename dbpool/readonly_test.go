package dbpool_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

func TestReadOnly(t *testing.T) {
	for text, want := range map[string]bool{
		"Error 1290 (HY000): The MariaDB server is running with the --read-only option so it cannot execute this statement":      true,
		"Error 1290: The MySQL server is running with the --super-read-only option so it cannot execute this statement":          true,
		"Error 1290 (HY000): The MySQL server is running with the --secure-file-priv option so it cannot execute this statement": false,
		"Error 1836 (HY000): Running in read-only mode":                                                                          true,
		"Error 1062 (23000): Duplicate entry '1836' for key 'PRIMARY'":                                                           false,
		"": false,
	} {
		require.Equal(t, want, dbpool.ReadOnly(errors.New(text)), text)
	}
	for code, want := range map[string]bool{"25006": true, "57P03": true, "53300": false, "57P01": false, "42501": false} {
		err := &dbpooltest.Error{Code: code}
		require.Equal(t, want, dbpool.ReadOnly(err), code)
		require.Equal(t, want, dbpool.ReadOnly(fmt.Errorf("insert: %w", err)), code)
	}
	require.False(t, dbpool.ReadOnly(nil))
}

// What an application or a driver joins is looked at in whole, in any order.
func TestReadOnlyAmongOthers(t *testing.T) {
	readOnly, other := &dbpooltest.Error{Code: "25006"}, &dbpooltest.Error{Code: "25P02"}
	require.True(t, dbpool.ReadOnly(errors.Join(other, readOnly)))
	require.True(t, dbpool.ReadOnly(fmt.Errorf("rollback: %w; insert: %w", other, errors.Join(nil, readOnly))))
	require.False(t, dbpool.ReadOnly(errors.Join(other, errors.New("Error 1836: not PostgreSQL's"))))
}
