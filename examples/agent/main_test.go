package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		`-server is "nowhere"`:  {"-server", "nowhere"},
		`-server is "ftp://x"`:  {"-server", "ftp://x"},
		"-agents is 0":          {"-agents", "0"},
		"-splay is -1s":         {"-splay", "-1s"},
		"-max is 0s":            {"-max", "0"},
		`argument "please"`:     {"please"},
		"flag provided but not": {"-nonsense"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, io.Discard, &stderr))
		require.Contains(t, stderr.String(), want)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line, and not all flags")
	}
	var help bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-h"}, &help, io.Discard))
	require.Contains(t, help.String(), "-splay")
}

// An agent that nobody wants does not ask for ever.
func TestDenied(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "who?", http.StatusUnauthorized)
	}))
	defer srv.Close()
	var stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-server", srv.URL, "-debug", "127.0.0.1:0"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "401 Unauthorized")
}
