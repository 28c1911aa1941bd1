package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain is the processes that a test starts as well.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		os.Exit(role(ctx))
	}
	stop()
	_ = launch(exec.Command("")) // starts nothing, but the thread that starts processes, which never ends
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("os/signal.loop"))
}

// services skips a test without HAProxy and Redis.
func services(t *testing.T) {
	t.Helper()
	for _, name := range []string{"haproxy", "redis-server"} {
		if _, err := find(name); err != nil {
			if os.Getenv("CONNHYGIENE_SERVICES") == "required" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-agents 1": "-agents", "-capacity NaN": "-capacity", "-capacity 0": "-capacity", "-deadline 0s": "-deadline",
		"-arms x": "-arms", "more": "unexpected", "-scale 3": "-scale", "-stream x": "-stream", "-outage -1s": "-outage",
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), strings.Fields(args), &bytes.Buffer{}, &stderr), args)
		require.Contains(t, stderr.String(), want, args)
	}
	var help bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-h"}, &help, &help))
	require.Contains(t, help.String(), "rolling-drained")
}

// A short version of the whole: nobody notices a restart that is drained, and with a tier
// nobody asks the provider.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	services(t)
	svg := filepath.Join(t.TempDir(), "replicas.svg")
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{
		"-agents", "45", "-arms", "rolling-drained-tier,crash-all", "-outage", "200ms", "-json", "-svg", svg,
	}, &stdout, &stderr), &stderr)
	var got struct{ Arms []result }
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &got))
	require.Len(t, got.Arms, 2)
	moved, crashed := got.Arms[0], got.Arms[1]
	require.Equal(t, 45, moved.Back)
	require.GreaterOrEqual(t, moved.Moves, 45)
	require.Zero(t, moved.Failed, "nobody notices")
	require.LessOrEqual(t, moved.Lookups, 0.05)
	require.Equal(t, 45, crashed.Back)
	require.Greater(t, crashed.Lookups, 0.9)
	picture, err := os.ReadFile(svg)
	require.NoError(t, err)
	require.Contains(t, string(picture), "crash-all")
}

// After Ctrl-C nothing is left.
func TestInterrupt(t *testing.T) {
	services(t)
	before := children(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	require.Zero(t, run(ctx, []string{"-agents", "30", "-arms", "crash-one-tier"}, &bytes.Buffer{}, &bytes.Buffer{}))
	require.Equal(t, before, children(t))
}

// children returns how many processes this one has.
func children(t *testing.T) int {
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", itoa(os.Getpid())).Output()
	if err != nil && len(out) == 0 {
		return 0
	}
	return len(strings.Fields(string(out))) - 1 // ps itself
}

func TestProgramsThatAreMissing(t *testing.T) {
	_, err := find("no such program")
	require.ErrorContains(t, err, "apt-get")
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, table(&out, options{agents: 3, capacity: 60}, []result{{Arm: "crash-all", Back: 3, PerServer: []int{1, 1, 1}}}))
	require.Contains(t, out.String(), "crash-all")
	require.Contains(t, string(picture([]result{{Arm: "crash-all", Curve: []int{3, 0, 3}}})), "polyline")
}

// A short version of -scale.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	if runtime.GOOS != "linux" {
		t.Skip("the memory of a process is read from /proc")
	}
	for _, stream := range []string{"hijacked", "handler"} {
		var stdout, stderr bytes.Buffer
		require.Zero(t, run(t.Context(), []string{"-scale", "300", "-bound", "2s", "-stream", stream}, &stdout, &stderr), &stderr)
		require.Contains(t, stdout.String(), "300 connections in 1 server processes")
		require.Contains(t, stdout.String(), "all restarted at once")
		require.NotContains(t, stdout.String(), "0.00 GB, 0.0 KB")
	}
}
