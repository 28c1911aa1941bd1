package transporttest

import (
	"cmp"
	"io"
	"net/http"
	"sync"
	"testing"
)

// Check fails the test, when it ends, for each body of an answer that client got
// from now on and that nobody closed, names the line that asked for it, and closes
// it. It replaces the client's Transport with one that passes on to it, so it is
// for the start of a test, before client is used.
func Check(tb testing.TB, client *http.Client) {
	tb.Helper()
	c := &checked{base: client.Transport, open: make(map[*checkedBody]string)}
	if c.base == nil {
		c.base = http.DefaultTransport
	}
	client.Transport = c
	tb.Cleanup(func() {
		for what, times := range c.closeLeaks() {
			tb.Errorf("transporttest: the body of %s was never closed (%d times)", what, times)
		}
	})
}

// checked knows the bodies that are open.
type checked struct {
	base http.RoundTripper

	mu   sync.Mutex              // guards the field below
	open map[*checkedBody]string // and who asked for them
}

var _ http.RoundTripper = (*checked)(nil)

func (c *checked) RoundTrip(req *http.Request) (*http.Response, error) {
	what := cmp.Or(req.Method, http.MethodGet)
	if req.URL != nil {
		what += " " + req.URL.Redacted()
	}
	if at := caller(); at != "" {
		what += " (" + at + ")"
	}
	resp, err := c.base.RoundTrip(req)
	if err == nil && resp != nil && resp.Body != nil && resp.Body != http.NoBody {
		resp.Body = c.watch(resp.Body, what)
	}
	return resp, err
}

// CloseIdleConnections is what http.Client looks for.
func (c *checked) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// Unwrap returns the transport that the client had.
func (c *checked) Unwrap() http.RoundTripper { return c.base }

func (c *checked) watch(body io.ReadCloser, what string) io.ReadCloser {
	watched := &checkedBody{ReadCloser: body, by: c}
	c.mu.Lock()
	if c.open != nil { // the test is not over
		c.open[watched] = what
	}
	c.mu.Unlock()
	if w, ok := body.(io.Writer); ok { // an upgraded connection
		return struct {
			io.ReadCloser
			io.Writer
		}{watched, w}
	}
	return watched
}

// closeLeaks counts the open bodies by who asked for them, and closes them.
func (c *checked) closeLeaks() map[string]int {
	c.mu.Lock()
	open := c.open
	c.open = nil
	c.mu.Unlock()
	leaks := make(map[string]int)
	for body, what := range open {
		leaks[what]++
		_ = body.ReadCloser.Close()
	}
	return leaks
}

// A checkedBody tells when it is closed.
type checkedBody struct {
	io.ReadCloser
	by *checked
}

func (b *checkedBody) Close() error {
	b.by.mu.Lock()
	delete(b.by.open, b)
	b.by.mu.Unlock()
	return b.ReadCloser.Close()
}
