//go:build linux

package integration_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// behindHAProxy starts a server and an HAProxy in front of it, with these lines.
func behindHAProxy(t *testing.T, lines string) (*service.HAProxy, *transporttest.Server) {
	t.Helper()
	srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "a body of some length, so that leaving it unread has a price\n")
	}))
	return service.StartHAProxy(t, strings.TrimPrefix(srv.URL, "http://"), lines), srv
}

// HAProxy gives up a connection after a second without a request, just when
// workers that pause for about as long use it again.
func TestNoErrorWhenHAProxyClosesIdleConnections(t *testing.T) {
	for name, request := range map[string]func(*testing.T, string) func() *http.Request{"GET": get, "POST, marked": markedPost} {
		t.Run(name, func(t *testing.T) {
			h, srv := behindHAProxy(t, "\ttimeout http-keep-alive 1s")
			reuse := &transport.Reuse{Base: transport.New(100)}
			work := httpLoad{workers: 100, pause: around(time.Second, 4*time.Millisecond), request: request(t, h.URL), lazy: true}
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			answered, failures := work.run(ctx, &http.Client{Transport: reuse})
			reuse.CloseIdleConnections()
			stats := reuse.Stats()
			requests, connections := h.Counts()
			t.Logf("%d requests over %d connections; client: %+v", requests, connections, stats)
			require.Empty(t, failures)
			require.NotZero(t, answered)
			require.GreaterOrEqual(t, srv.Requests(), answered, "some were sent twice, perhaps")
		})
	}
}

// A proxy ends a connection that is retired, as a server does, and loses no request.
func TestMaxConnAgeBehindHAProxy(t *testing.T) {
	h, srv := behindHAProxy(t, "\thttp-request set-header X-Proxy haproxy")
	reuse := &transport.Reuse{Base: transport.New(8), MaxConnAge: 100 * time.Millisecond}
	client := &http.Client{Transport: reuse}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var failures [2][]string
	for i, request := range []func() *http.Request{get(t, h.URL), post(t, h.URL)} {
		work := httpLoad{workers: 4, pause: around(2*time.Millisecond, 2*time.Millisecond), request: request, lazy: true}
		all.Go(func() { _, failures[i] = work.run(ctx, client) })
	}
	all.Wait()
	reuse.CloseIdleConnections()
	stats := reuse.Stats()
	requests, connections := h.Counts()
	t.Logf("%d requests over %d connections, %d behind the proxy; client: %+v", requests, connections, srv.Conns(), stats)
	require.Empty(t, failures[0], "GET")
	require.Empty(t, failures[1], "POST, unmarked: no connection dies under a request")
	require.NotZero(t, stats.Retired)
	// Not what HAProxy counts: it drops lines of its log when nobody reads them at once.
	require.GreaterOrEqual(t, srv.Requests(), int(stats.Requests))
}
