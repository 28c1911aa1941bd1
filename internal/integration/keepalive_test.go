//go:build linux

package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/transport"
)

// curl and transport.Reuse, an independent client and ours, meet the same nginx:
// both keep a connection as long as they may, and read "Connection: close" alike.
func TestCurlAndReuseKeepConnectionsAlike(t *testing.T) {
	const requests = 10
	server := `
		keepalive_requests 4;
		location / { return 200 "hello\n"; }`

	n := service.StartNginx(t, server)
	args := []string{"--include", "--write-out", "connects: %{num_connects}\n"}
	for range requests {
		args = append(args, n.URL)
	}
	status, out, verbose := service.StartCurl(t, args...).Wait()
	require.Equal(t, 0, status, verbose)
	require.Equal(t, requests, strings.Count(out, "HTTP/1.1 200 OK"))
	require.Equal(t, requests/4, strings.Count(out, "Connection: close"), "the fourth and the eighth")
	require.Equal(t, requests-requests/4, strings.Count(out, "Connection: keep-alive"))
	connects := strings.Count(out, "connects: 1\n")
	_, connections := n.Counts()
	require.Equal(t, connections, connects)

	n = service.StartNginx(t, server)
	reuse := &transport.Reuse{}
	client := &http.Client{Transport: reuse}
	for range requests {
		resp, err := client.Get(n.URL)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close()) // unread
	}
	reuse.CloseIdleConnections()
	stats := reuse.Stats()
	_, connections = n.Counts()
	t.Logf("%d requests: curl opened %d connections, Reuse %d (nginx counts %d)", requests, connects, stats.Dialed, connections)
	require.EqualValues(t, connects, stats.Dialed)
	require.EqualValues(t, requests-connects, stats.Reused)
	require.Equal(t, connects, connections)
}
