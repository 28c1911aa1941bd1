package transporttest

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// Check fails the test, when it ends, for each body of an answer that client got
// from now on and that was never closed, names the lines that asked for it, each called
// by the next, and closes it. It fails the test as well if the client cannot keep a
// connection (DisableKeepAlives, or MaxIdleConnsPerHost below zero in the
// *http.Transport at the bottom) although it asked one host more than once.
//
// Check replaces the client's Transport with one that passes on to it, so it is for
// the start of a test, before client is used. The reports of a [Server] that such a
// client asks, through a transport made from [Server.Client], then say for certain why
// a connection ended.
func Check(tb testing.TB, client *http.Client) {
	tb.Helper()
	c := &checked{base: client.Transport, open: make(map[*checkedBody]string), hosts: make(map[string]int)}
	if c.base == nil {
		c.base = http.DefaultTransport
	}
	client.Transport = c
	tb.Cleanup(func() {
		for what, times := range c.closeLeaks() {
			tb.Errorf("transporttest: the body of %s was never closed (%d times)", what, times)
		}
		for host, requests := range c.hosts {
			if requests > 1 && keepsNothing(c.base) {
				tb.Errorf("transporttest: the client keeps no connection (DisableKeepAlives, or MaxIdleConnsPerHost below 0): %d requests to %s took one each", requests, host)
			}
		}
	})
}

// keepsNothing reports whether the transport at the bottom closes each connection.
func keepsNothing(rt http.RoundTripper) bool {
	for range 20 { // or it wraps itself
		switch t := rt.(type) {
		case *http.Transport:
			return t.DisableKeepAlives || t.MaxIdleConnsPerHost < 0
		case interface{ Unwrap() http.RoundTripper }:
			rt = t.Unwrap()
		default:
			return false
		}
	}
	return false
}

// checked knows the bodies that are open.
type checked struct {
	base http.RoundTripper

	mu    sync.Mutex              // guards the fields below
	open  map[*checkedBody]string // and their origin; nil when the test is over
	hosts map[string]int          // answers
}

var _ http.RoundTripper = (*checked)(nil)

func (c *checked) RoundTrip(req *http.Request) (*http.Response, error) {
	what := cmp.Or(req.Method, http.MethodGet)
	if req.URL != nil {
		what += " " + req.URL.Redacted()
	}
	if from := callers(); from != "" {
		what += " (" + from + ")"
	}
	f := new(fate)
	resp, err := c.base.RoundTrip(req.WithContext(context.WithValue(req.Context(), fateKey{}, f)))
	if err != nil || resp == nil {
		f.set(brokeOff)
		return resp, err
	}
	if req.URL != nil {
		c.answered(req.URL.Host)
	}
	if resp.Request != nil && resp.Request.Context().Value(fateKey{}) == f {
		resp.Request = req
	}
	if resp.Body == nil || resp.Body == http.NoBody {
		f.set(readToEnd)
		return resp, nil
	}
	resp.Body = c.watch(resp.Body, what, f)
	return resp, nil
}

// CloseIdleConnections passes on to the transport that the client had.
func (c *checked) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// Unwrap returns the transport that the client had.
func (c *checked) Unwrap() http.RoundTripper { return c.base }

func (c *checked) answered(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != nil {
		c.hosts[host]++
	}
}

func (c *checked) watch(body io.ReadCloser, what string, f *fate) io.ReadCloser {
	watched := &checkedBody{ReadCloser: body, by: c, fate: f}
	c.mu.Lock()
	if c.open != nil {
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

// closeLeaks counts the open bodies by origin, and closes them.
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

// A checkedBody reports its end.
type checkedBody struct {
	io.ReadCloser
	by   *checked
	fate *fate
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		b.fate.set(readToEnd)
	default:
		b.fate.set(brokeOff)
	}
	return n, err
}

func (b *checkedBody) Close() error {
	b.fate.set(closedUnread)
	b.by.mu.Lock()
	delete(b.by.open, b)
	b.by.mu.Unlock()
	return b.ReadCloser.Close()
}

// A fate is the end of an answer. Nil is unknown.
type fate struct{ atomic.Int32 }

const (
	unfinished   int32 = iota
	readToEnd          // its body was read to EOF, or it has none
	closedUnread       // before EOF
	brokeOff           // with an error
)

// fateKey finds the fate in the context of a request.
type fateKey struct{}

// set keeps the first value.
func (f *fate) set(to int32) { f.CompareAndSwap(unfinished, to) }

func (f *fate) is(that int32) bool { return f != nil && f.Load() == that }
