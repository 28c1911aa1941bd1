package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		`-server is "nowhere"`:  {"-server", "nowhere"},
		"-agents is 0":          {"-agents", "0"},
		"-splay must not":       {"-splay", "-1s"},
		`argument "please"`:     {"please"},
		"flag provided but not": {"-nonsense"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, &stderr))
		require.Contains(t, stderr.String(), want)
	}
	require.Zero(t, run(t.Context(), []string{"-h"}, io.Discard))
}

// An agent that nobody wants does not ask for ever.
func TestDenied(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "who?", http.StatusUnauthorized)
	}))
	defer srv.Close()
	var stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-server", srv.URL, "-debug", "127.0.0.1:0"}, &stderr))
	require.Contains(t, stderr.String(), "401 Unauthorized")
}
