package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
)

// paced turns away the requests that next cannot serve now, and tells their clients
// when to come back. A request that panics, or that next answers with an error, frees its
// place and does not count for the rate.
func paced(p *backoff.Pacer, next func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slot, err := p.Enter()
		if err != nil {
			d, _ := backoff.Hint(err)
			transport.SetRetryAfter(w.Header(), d)                    // rounded up, and in milliseconds
			http.Error(w, err.Error(), http.StatusServiceUnavailable) // never 401: this is no verdict
			return
		}
		defer slot.Cancel() // does nothing after Done
		if next(w, r) == nil {
			slot.Done()
		}
	})
}

// visit is one attempt of a client that obeys.
func visit(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return backoff.Permanent(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer transport.DrainClose(resp.Body)
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusUnauthorized:
		return backoff.Permanent(errors.New(resp.Status))
	}
	d, _ := transport.RetryAfter(resp.Header) // zero is no hint
	return backoff.After(d, errors.New(resp.Status))
}

// A server that says when to come back, and a client that obeys: HTTP.
func Example_http() {
	p := &backoff.Pacer{MaxPending: 1, Rate: 500}
	server := httptest.NewServer(paced(p, func(http.ResponseWriter, *http.Request) error { return nil }))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()

	before, err := p.Enter() // another client is being served
	if err != nil {
		panic(err)
	}
	b := backoff.Backoff{OnWait: func(e backoff.Event) {
		fmt.Println(e.Err, e.Hinted, e.Delay < 10*time.Millisecond)
		before.Done()
	}}
	err = b.Do(context.Background(), func(ctx context.Context) error { return visit(ctx, server.URL) })
	fmt.Println("logged in:", err == nil)
	// Output:
	// 503 Service Unavailable true true
	// logged in: true
}
