package transport

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"runtime"
)

// A Leak is a body that became unreachable before it was closed.
type Leak struct {
	// Method is that of the request, such as GET.
	Method string

	// URL is that of the request, a password in it replaced by xxxxx.
	URL string

	// Stack is where the request was sent, as in a goroutine's trace: a function
	// and the file and line in it, two lines for each caller.
	Stack []byte
}

// A handle is the body that the caller holds while OnLeak watches. It is apart
// from the exchange, which net/http holds on to for as long as the body is open,
// and in an answer apart from net/http's own, for the same reason.
type handle struct {
	*body
	resp    *http.Response // the caller's
	cleanup runtime.Cleanup
}

// A sent request is the subject of a report.
type sent struct {
	x           *exchange
	method, url string
	stack       []uintptr
}

// watch returns an answer whose body is reported and closed if it gets lost.
func (x *exchange) watch(resp *http.Response) *http.Response {
	theirs := *resp
	h := &handle{body: &x.body, resp: &theirs}
	theirs.Body = h
	s := sent{x: x, method: cmp.Or(x.orig.Method, http.MethodGet), stack: make([]uintptr, 32)}
	s.stack = s.stack[:runtime.Callers(5, s.stack)] // from RoundTrip's caller on
	if x.orig.URL != nil {
		s.url = x.orig.URL.Redacted()
	}
	h.cleanup = runtime.AddCleanup(h, lost, s)
	return &theirs
}

// lost runs on the runtime's goroutine, which must not wait.
func lost(s sent) { go s.report() }

func (s sent) report() {
	s.x.host.leaked.Add(1)
	_ = s.x.body.Close()
	s.x.reuse.OnLeak(Leak{Method: s.method, URL: s.url, Stack: trace(s.stack)})
}

func trace(stack []uintptr) []byte {
	var b bytes.Buffer
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return b.Bytes()
		}
	}
}

// Read reads the body. At its end nothing is left to lose, and the trailer is there.
func (h *handle) Read(p []byte) (int, error) {
	n, err := h.body.Read(p)
	if err == io.EOF {
		h.resp.Trailer = h.body.resp.Trailer
		h.cleanup.Stop()
	}
	runtime.KeepAlive(h)
	return n, err
}

// Close closes the body.
func (h *handle) Close() error {
	h.cleanup.Stop()
	return h.body.Close()
}
