package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStorm(t *testing.T) {
	needServer(t)
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-agents", "30", "-load", "100ms"}, &stdout, &stderr), stderr.String())
	require.Regexp(t, `\n *naive .*\n *gate +30 `, stdout.String())
}

// Ctrl-C ends it at any moment, and leaves nothing.
func TestInterrupted(t *testing.T) {
	needServer(t)
	ctx, stop := context.WithCancel(t.Context())
	require.Zero(t, run(ctx, nil, writer(func(p []byte) {
		if strings.Contains(string(p), "The storm") {
			stop()
		}
	}), io.Discard))
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
