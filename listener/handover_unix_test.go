//go:build unix

package listener_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHandoverServer is the server of TestHandoverLosesNoConnection.
func TestHandoverServer(t *testing.T) {
	address := os.Getenv("HANDOVER_ADDRESS")
	if address == "" {
		t.Skip("is run by TestHandoverLosesNoConnection, in a process of its own")
	}
	next := exec.Command(os.Args[0], os.Args[1:]...)
	next.Stdout, next.Stderr = os.Stdout, os.Stderr
	err := serve(context.Background(), address, next, func(a net.Addr) { fmt.Println("serving", os.Getpid(), a) })
	if err != nil {
		fmt.Println("failed", err, "end")
	}
}

// Real processes hand the socket over again and again; clients with connections that
// they keep and clients with one for each request see none of it.
func TestHandoverLosesNoConnection(t *testing.T) {
	first := exec.Command(os.Args[0], "-test.run=^TestHandoverServer$")
	first.Env = append(os.Environ(), "HANDOVER_ADDRESS=127.0.0.1:0")
	first.Stderr = os.Stderr
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	first.Stdout = w // and that of the successors
	err = first.Start()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("emulated: QEMU's user mode cannot start itself")
	}
	require.NoError(t, err)
	require.NoError(t, w.Close())
	go func() { _ = first.Wait() }()
	lines := bufio.NewReader(r)
	pid, addr := serving(t, lines)

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	served := map[string]int{}
	for i := range 8 {
		clients.Go(func() {
			tr := &http.Transport{DisableKeepAlives: i%2 == 0}
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
			for ctx.Err() == nil {
				body, err := post(client, "http://"+addr)
				mu.Lock()
				if err != nil {
					failed = append(failed, err)
				}
				served[body]++
				mu.Unlock()
			}
		})
	}
	const handovers = 5
	for range handovers {
		require.NoError(t, syscall.Kill(pid, syscall.SIGUSR2))
		pid, _ = serving(t, lines)
	}
	stop()
	clients.Wait()
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	rest, err := io.ReadAll(lines) // all have ended
	require.NoError(t, err)
	require.NotContains(t, string(rest), "failed")
	t.Logf("%v", served)
	require.Empty(t, failed)
	require.GreaterOrEqual(t, len(served), handovers)
}

// serving waits until a server says so.
func serving(t *testing.T, lines *bufio.Reader) (pid int, addr string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.NotContains(t, line, "failed")
		if f := strings.Fields(line); len(f) == 3 && f[0] == "serving" {
			pid, err = strconv.Atoi(f[1])
			require.NoError(t, err)
			return pid, f[2]
		}
	}
}

// post makes a request that is not repeated by the client.
func post(client *http.Client, url string) (string, error) {
	resp, err := client.Post(url, "text/plain", io.MultiReader(strings.NewReader("x")))
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}
