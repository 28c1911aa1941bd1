//go:build linux

package integration_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/listener"
)

const curlRefused = 7 // curl's exit status for a connection that was refused

// serveHello answers every request on l until the test ends.
func serveHello(t *testing.T, l net.Listener) {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	})}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

func TestCurlAndRefusingGate(t *testing.T) {
	gate, err := listener.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serveHello(t, gate)
	url := "http://" + gate.Addr().String()

	for range 2 {
		status, _, verbose := service.StartCurl(t, url).Wait()
		require.Equal(t, curlRefused, status, verbose)

		require.NoError(t, gate.Open(t.Context()))
		status, out, verbose := service.StartCurl(t, url).Wait()
		require.Equal(t, 0, status, verbose)
		require.Equal(t, "hello\n", out)
		require.NoError(t, gate.Shut())
	}
	status, _, verbose := service.StartCurl(t, url).Wait()
	require.Equal(t, curlRefused, status, verbose)
}

func TestCurlAndParkedGate(t *testing.T) {
	gate, err := listener.Config{Park: true}.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serveHello(t, gate)
	curl := service.StartCurl(t, "--verbose", "http://"+gate.Addr().String())

	curl.Await("> GET / HTTP/1.1") // connected, and the request is on its way
	require.True(t, curl.Running())
	require.Zero(t, gate.Stats().Accepted)
	require.NoError(t, gate.Open(t.Context()))
	status, out, verbose := curl.Wait()
	require.Equal(t, 0, status, verbose)
	require.Equal(t, "hello\n", out)
	require.EqualValues(t, 1, gate.Stats().Accepted)
}
