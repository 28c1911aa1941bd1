package listener_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// On loopback, in real time, with the flooders in a process that leaves the
// processors to ours. How much slower the private port becomes depends on what else
// the machine does: a table for go test -run Flood -v, and a bound of twice on a
// quiet machine, with CONNHYGIENE_STRICT=1. That it is served, that no Accept fails
// and that nobody waits behind the flood holds everywhere.
func TestFlood(t *testing.T) {
	if isFlood(t) {
		return
	}
	needsKernel(t)
	arms, lasts := floodArms[:1], 50*time.Millisecond
	if asked("Flood") {
		arms, lasts = floodArms, floodLasts
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\nprivate port, beside %d flooders of the public one, for %v\n", flooders, lasts)
	fmt.Fprintf(&table, "%-12s %10s %10s %6s %10s %10s\n", "limit", "p99 quiet", "p99 flood", "ratio", "accepted", "rejected")
	defer func() { t.Log(table.String()) }()
	for _, arm := range arms {
		quiet, flooded, s := floodOnLoopback(t, arm.lim, lasts)
		ratio := float64(flooded) / float64(quiet)
		fmt.Fprintf(&table, "%-12s %10v %10v %6.2f %10d %10d\n", arm.name, quiet.Round(10*time.Microsecond),
			flooded.Round(10*time.Microsecond), ratio, s.Accepted, s.Rejected[listener.OverRate])
		assert.Zero(t, s.AcceptErrors, arm.name)
		assert.Less(t, flooded, 5*time.Second, arm.name)
		if strict() {
			assert.LessOrEqual(t, ratio, 2.0, arm.name)
		}
	}
}

// floodOnLoopback returns the p99 of a client of the private port without and with
// a flood of the public one.
func floodOnLoopback(t *testing.T, lim listener.Limits, lasts time.Duration) (quiet, flooded time.Duration, s listener.ThrottleStats) {
	t.Helper()
	l, err := listener.ListenTwoPhase(t.Context(), "tcp", "127.0.0.1:0", "127.0.0.1:0", lim)
	require.NoError(t, err)
	require.NoError(t, l.Open(t.Context()))
	served := make(chan error, 1)
	go func() { served <- logsIn(l) }()
	private := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Private.Addr().String())
	}

	quiet = p99(t, lasts, private)
	end := startFlood(t, l.Addr())
	require.Eventually(t, func() bool { return l.Public.Stats().Accepted > 0 }, time.Minute, time.Millisecond)
	flooded = p99(t, lasts, private)
	s = l.Public.Stats()
	end()
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-served, net.ErrClosed)
	return quiet, flooded, s
}

const floodAddr = "CONNHYGIENE_FLOOD"

// startFlood floods addr from another process, until end is called.
func startFlood(t *testing.T, addr net.Addr) (end func()) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestFlood$")
	child.Env = append(os.Environ(), floodAddr+"="+addr.String())
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	return func() {
		require.NoError(t, stdin.Close())
		require.NoError(t, child.Wait())
	}
}

// isFlood reports whether this is that process, and its flood is over.
func isFlood(t *testing.T) bool {
	t.Helper()
	addr := os.Getenv(floodAddr)
	if addr == "" {
		return false
	}
	require.NoError(t, syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent has seen enough
		cancel()
	}()
	flood(ctx, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	})
	return true
}
