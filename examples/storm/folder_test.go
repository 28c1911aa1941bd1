package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// folder is t.TempDir, whose files are removed one by one: Wine cannot remove a folder
// with files in it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "storm")
	require.NoError(t, err)
	t.Cleanup(func() {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		for _, file := range files {
			require.NoError(t, os.Remove(file))
		}
		require.NoError(t, os.Remove(dir))
	})
	return dir
}
