package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needServer skips where PostgreSQL is not installed, unless it must be.
func needServer(t *testing.T) {
	t.Helper()
	if _, err := binaries(); errors.Is(err, errNotInstalled) && os.Getenv("CONNHYGIENE_SERVICES") != "required" {
		t.Skip(err)
	}
}

func TestEverything(t *testing.T) {
	needServer(t)
	t.Setenv("TMPDIR", t.TempDir())
	require.NoError(t, os.Chmod(os.Getenv("TMPDIR"), 0o711))
	require.NoError(t, os.Chmod(parent(os.Getenv("TMPDIR")), 0o711)) // the server is another user
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"-agents", "0"}, &stdout, &stderr)
	t.Log(stdout.String())
	require.Zero(t, status, stderr.String())
	for _, want := range []string{
		"The server takes 60 connections, 8 of them reserved",
		"map[agents:6 api:5 internal:3]",
		"has 5 connections after",
		"open 10, idle 2",
		"open 10, idle 10",
		"logged in with the new password",
	} {
		require.Contains(t, stdout.String(), want)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left, "the server and all that it had are gone")
}

func parent(dir string) string { return dir[:strings.LastIndex(dir, "/")] }

// A server that is given stays as it is, and one with too few connections is an error
// at the start that names the pools.
func TestGivenServer(t *testing.T) {
	needServer(t)
	db, err := startServer(t.Context(), 20)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.stop()) }()
	dsn := db.dsn + " password=secret"

	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-dsn", dsn, "-replicas", "1", "-agents", "0", "-load", "100ms"}, &stdout, &stderr), stderr.String())
	require.NotContains(t, stdout.String(), "password")

	require.Equal(t, 1, run(t.Context(), []string{"-dsn", dsn, "-replicas", "5"}, &stdout, &stderr))
	require.Regexp(t, "agents|api|internal", stderr.String())
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"-replicas is 0":        {"-replicas", "0"},
		"-load is 0s":           {"-load", "0"},
		"-agents is -1":         {"-agents", "-1"},
		"-max-connections is 5": {"-max-connections", "5"},
		`argument "please"`:     {"please"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, io.Discard, &stderr))
		require.Contains(t, stderr.String(), want)
	}
	require.Zero(t, run(t.Context(), []string{"-h"}, io.Discard, io.Discard))
	var stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-dsn", "postgres://app@127.0.0.1:1/app?connect_timeout=1"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "127.0.0.1")
}
