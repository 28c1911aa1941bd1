package dbpool_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkOptions compares what the kernel has set: keep-alive on or off, idle, interval,
// count, and TCP_USER_TIMEOUT in milliseconds. Of what is off only the first and the last
// count.
func checkOptions(t *testing.T, raw syscall.RawConn, want [5]int) {
	t.Helper()
	var got [5]int
	require.NoError(t, raw.Control(func(fd uintptr) {
		for i, option := range [5][2]int{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
			{syscall.IPPROTO_TCP, 18},
		} {
			n, err := syscall.GetsockoptInt(int(fd), option[0], option[1])
			require.NoError(t, err)
			got[i] = n
		}
	}))
	if want[0] == 0 {
		want[1], want[2], want[3] = got[1], got[2], got[3]
	}
	require.Equal(t, want, got)
}
