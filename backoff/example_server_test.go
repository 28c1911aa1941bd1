package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// login is a handler that turns away whom it cannot serve now, and says when to
// come back.
type login struct {
	pacer  backoff.Pacer
	lookup func(context.Context) error
}

func (l *login) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	slot, err := l.pacer.Enter()
	if err != nil {
		if d, ok := backoff.Hint(err); ok {
			w.Header().Set("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
			w.Header().Set("Retry-After-Ms", strconv.FormatInt(d.Milliseconds()+1, 10))
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable) // never 401: this is no verdict
		return
	}
	defer slot.Cancel() // does nothing after Done
	if l.lookup(r.Context()) == nil {
		slot.Done()
	}
}

// visit is one attempt of a client that obeys. The package transport of this module
// reads all forms of the header.
func visit(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return backoff.Permanent(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	ms, _ := strconv.Atoi(resp.Header.Get("Retry-After-Ms")) // zero is no hint
	return backoff.After(time.Duration(ms)*time.Millisecond, errors.New(resp.Status))
}

// A server that says when to come back, and a client that does.
func Example_server() {
	handler := &login{pacer: backoff.Pacer{MaxPending: 1, Rate: 500}, lookup: func(context.Context) error { return nil }}
	server := httptest.NewServer(handler)
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()

	before, _ := handler.pacer.Enter() // somebody else is being served
	b := backoff.Backoff{OnWait: func(e backoff.Event) {
		fmt.Println(e.Err, e.Hinted, e.Delay < 10*time.Millisecond)
		before.Done()
	}}
	for b.Next(context.Background()) {
		err := visit(context.Background(), server.URL)
		if err == nil {
			fmt.Println("logged in")
			return
		}
		b.Fail(err)
	}
	// Output:
	// 503 Service Unavailable true true
	// logged in
}
