package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"-logins is 0":          {"-logins", "0"},
		"-private":              {"-private", ""},
		"-heartbeat is -1s":     {"-heartbeat", "-1s"},
		"-away is -1s":          {"-away", "-1s"},
		"-grace is 0s":          {"-grace", "0"},
		`argument "please"`:     {"please"},
		"flag provided but not": {"-nonsense"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, io.Discard, &stderr))
		require.Contains(t, stderr.String(), want)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line, and not all flags")
	}
	var stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-public", "nonsense", "-private", "127.0.0.1:0"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "nonsense")
	require.Zero(t, run(t.Context(), []string{"-h"}, io.Discard, io.Discard))
}
