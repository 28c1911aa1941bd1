package listener_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// needsKernel skips a test where an emulator stands between the program and the kernel:
// QEMU's user mode hides TCP_INFO, and its programs cannot start themselves.
func needsKernel(t *testing.T) {
	t.Helper()
	var made capture
	c := net.ListenConfig{Control: made.control}
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	if made.backlog(t) == 0 {
		t.Skip("emulated: QEMU's user mode hides TCP_INFO and cannot start itself")
	}
}
