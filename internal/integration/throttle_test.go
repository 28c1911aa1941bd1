//go:build linux

package integration_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/listener"
)

// A throttle that resets what is too much tells a client at once, and lets the next
// one in as soon as there is a place.
func TestCurlAndThrottleThatResets(t *testing.T) {
	gate, err := listener.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	throttle := listener.Throttle(gate, listener.Limits{MaxConns: 1, Overflow: listener.Reset})
	serveHello(t, throttle)
	require.NoError(t, gate.Open(t.Context()))
	url := "http://" + gate.Addr().String()

	// Twice over one connection: a throttled connection is kept like any other.
	status, out, verbose := service.StartCurl(t, "--write-out", "connects: %{num_connects}\n", url, url).Wait()
	require.Equal(t, 0, status, verbose)
	require.Equal(t, "hello\nconnects: 1\nhello\nconnects: 0\n", out)

	open := func(n int) func() bool {
		return func() bool { return throttle.Stats().Open == n }
	}
	require.Eventually(t, open(0), waitLimit, waitTick)
	held, err := net.Dial("tcp", gate.Addr().String())
	require.NoError(t, err)
	require.Eventually(t, open(1), waitLimit, waitTick)
	status, _, verbose = service.StartCurl(t, url).Wait()
	// The reset ends whatever curl is at: to connect, to send or to receive.
	const sendFailed, receiveFailed = 55, 56
	require.Contains(t, []int{curlRefused, sendFailed, receiveFailed}, status, verbose)
	require.EqualValues(t, 1, throttle.Stats().Rejected[listener.OverConns])

	require.NoError(t, held.Close())
	require.Eventually(t, open(0), waitLimit, waitTick)
	status, _, verbose = service.StartCurl(t, url).Wait()
	require.Equal(t, 0, status, verbose)
}
