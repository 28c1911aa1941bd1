//go:build unix

package redistier_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// freeze lets Redis stand still, without closing a connection.
func (s *server) freeze(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
}

func (s *server) thaw(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
}
