//go:build linux

package service_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/internal/integration/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startAll starts one server of each kind and returns their addresses.
func startAll(t *testing.T) []string {
	t.Helper()
	p := service.StartPostgres(t, 20)
	require.NoError(t, p.Stop())
	require.NoError(t, p.Start())
	require.Equal(t, 1, p.Connects(), "its own connection creates the user")
	b := service.StartPgBouncer(t, p, service.PgBouncerConfig{Tenants: 2, PoolSize: 1, MaxConnections: 1})
	n := service.StartNginx(t, "return 204;")
	h := service.StartHAProxy(t, strings.TrimPrefix(n.URL, "http://"), "")
	m := service.StartMariaDB(t, 5)
	return []string{
		fmt.Sprintf("127.0.0.1:%d", p.Port),
		fmt.Sprintf("127.0.0.1:%d", m.Port),
		fmt.Sprintf("127.0.0.1:%d", b.Port),
		strings.TrimPrefix(n.URL, "http://"),
		strings.TrimPrefix(h.URL, "http://"),
	}
}

// privateTemp makes a directory for the temporary files of servers.
func privateTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "connhygiene-temp-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a server may still be going
	require.NoError(t, os.Chmod(dir, 0o711))    // which runs as another user
	return dir
}

// A server that outlives its test holds its port and memory as long as the machine
// runs.
func TestNothingIsLeft(t *testing.T) {
	temp := privateTemp(t)
	t.Setenv("TMPDIR", temp)
	var addrs []string
	t.Run("servers", func(t *testing.T) {
		addrs = startAll(t)
		for _, addr := range addrs {
			require.True(t, reachable(addr), addr)
		}
	})
	for _, addr := range addrs {
		require.False(t, reachable(addr), addr)
	}
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

func reachable(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func TestNginxCountsAndReloads(t *testing.T) {
	n := service.StartNginx(t, "return 204;")
	client := &http.Client{Transport: &http.Transport{}}
	get := func() {
		resp, err := client.Get(n.URL)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
	}
	get()
	get()
	client.CloseIdleConnections()
	get()
	client.CloseIdleConnections()
	n.Reload()
	get()
	client.CloseIdleConnections()
	requests, connections := n.Counts()
	require.Equal(t, 4, requests)
	require.Equal(t, 3, connections)
}

func TestHAProxyCounts(t *testing.T) {
	n := service.StartNginx(t, "return 204;")
	h := service.StartHAProxy(t, strings.TrimPrefix(n.URL, "http://"), "\thttp-response set-header X-Through haproxy")
	client := &http.Client{Transport: &http.Transport{}}
	for range 2 { // connections
		for range 3 {
			resp, err := client.Get(h.URL)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusNoContent, resp.StatusCode)
			require.Equal(t, "haproxy", resp.Header.Get("X-Through"))
		}
		client.CloseIdleConnections()
	}
	requests, connections := h.Counts()
	require.Equal(t, 6, requests)
	require.Equal(t, 2, connections)
}

func TestCurlReportsStatusAndOutput(t *testing.T) {
	n := service.StartNginx(t, `return 200 "hello\n";`)
	c := service.StartCurl(t, "--verbose", n.URL)
	c.Await("HTTP/1.1 200 OK")
	status, out, verbose := c.Wait()
	require.False(t, c.Running())
	require.Equal(t, 0, status)
	require.Equal(t, "hello\n", out)
	require.Contains(t, verbose, "< Content-Length: 6")

	status, _, verbose = service.StartCurl(t, "nonsense://host").Wait()
	require.Equal(t, 1, status, "curl's status for a protocol it does not know")
	require.Contains(t, verbose, "nonsense")
}
