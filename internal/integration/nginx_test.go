//go:build linux

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/transport"
)

// nginx closes a connection after a second without a request, and each one after
// its tenth. A client that pauses for about a second writes into connections which
// are just being closed.
const impatient = `
		keepalive_timeout 1s;
		keepalive_requests 10;
		location / {
			return 200 "a body of some length, so that leaving it unread has a price\n";
		}`

// An httpLoad is what the workers of an HTTP client do.
type httpLoad struct {
	workers int
	pause   func() time.Duration // between the requests of one worker
	request func() *http.Request
	lazy    bool // closes the body unread, as many callers do
}

// run plays the load until ctx is done and returns how many requests were answered,
// and one line for each that was not.
func (l httpLoad) run(ctx context.Context, client *http.Client) (answered int, failures []string) {
	var mu sync.Mutex // guards the results
	var wg sync.WaitGroup
	for range l.workers {
		wg.Go(func() {
			for pause(ctx, l.pause()) {
				err := l.once(client) // not under ctx: its end is no failure
				mu.Lock()
				if err == nil {
					answered++
				} else {
					failures = append(failures, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answered, failures
}

func (l httpLoad) once(client *http.Client) error {
	resp, err := client.Do(l.request())
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	} else if !l.lazy {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if errClose := resp.Body.Close(); err == nil {
		err = errClose
	}
	return err
}

func get(t *testing.T, url string) func() *http.Request {
	t.Helper()
	return func() *http.Request {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		require.NoError(t, err)
		return req
	}
}

func post(t *testing.T, url string) func() *http.Request {
	t.Helper()
	return func() *http.Request {
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader("sample"))
		require.NoError(t, err)
		return req
	}
}

func markedPost(t *testing.T, url string) func() *http.Request {
	t.Helper()
	unmarked := post(t, url)
	return func() *http.Request {
		req := unmarked()
		transport.MarkRetryable(req)
		return req
	}
}

func around(d, spread time.Duration) func() time.Duration {
	return func() time.Duration { return d - spread/2 + rand.N(spread) }
}

// Workers that hardly pause get their ten requests out of each connection, without
// reading a body.
func TestReuseOfNginxConnections(t *testing.T) {
	n := service.StartNginx(t, impatient)
	reuse := &transport.Reuse{Base: transport.New(16)}
	work := httpLoad{workers: 16, pause: around(2*time.Millisecond, 2*time.Millisecond), request: get(t, n.URL), lazy: true}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	answered, failures := work.run(ctx, &http.Client{Transport: reuse})
	reuse.CloseIdleConnections()
	stats := reuse.Stats()
	requests, connections := n.Counts()

	t.Logf("%d requests over %d connections: %.1f each; client: %+v", requests, connections,
		float64(requests)/float64(connections), stats)
	require.Empty(t, failures)
	require.Equal(t, requests, answered)
	require.EqualValues(t, requests, stats.Requests)
	require.LessOrEqual(t, requests, 10*connections, "nginx allows ten requests")
	require.GreaterOrEqual(t, 10*requests, 85*connections, "fewer than 8.5 requests over a connection")
}

// A request can meet a connection that nginx is just closing, because it idled for
// too long or because the configuration was reloaded. Such a request is sent again
// if that is safe: net/http knows it of a GET, and a POST must say so.
func TestNoErrorWhenNginxClosesIdleConnections(t *testing.T) {
	measure(t, func(t *testing.T) error {
		require.Empty(t, runClosing(t, "GET", get), "GET")
		require.Empty(t, runClosing(t, "POST, marked", markedPost), "POST, marked")
		if len(runClosing(t, "POST", post)) == 0 {
			return errors.New("no POST met a closing connection: the others may have been lucky")
		}
		return nil
	})
}

// runClosing sends requests to an nginx that idles out for a while and reloads for
// another, and returns a line for each failure.
func runClosing(t *testing.T, name string, request func(*testing.T, string) func() *http.Request) []string {
	t.Helper()
	n := service.StartNginx(t, impatient)
	reuse := &transport.Reuse{Base: transport.New(100)}
	client := &http.Client{Transport: reuse}
	slow := httpLoad{workers: 100, pause: around(time.Second, 4*time.Millisecond), request: request(t, n.URL)}
	busy := httpLoad{workers: 8, pause: around(time.Millisecond, time.Millisecond), request: request(t, n.URL)}

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var slowAnswered int
	var failures, busyFailures []string
	wg.Go(func() { slowAnswered, failures = slow.run(ctx, client) })
	wg.Go(func() { _, busyFailures = busy.run(ctx, client) })
	pause(ctx, 2500*time.Millisecond)
	for pause(ctx, 100*time.Millisecond) {
		n.Reload()
	}
	wg.Wait()
	reuse.CloseIdleConnections()
	failures = append(failures, busyFailures...)

	requests, connections := n.Counts()
	t.Logf("%s: %d requests (%d after a second's pause) over %d connections, %d failures %q; client: %+v",
		name, requests, slowAnswered, connections, len(failures), failures[:min(len(failures), 1)], reuse.Stats())
	return failures
}
