package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// page answers everything with a body of 13,000 bytes.
var page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "13000")
	_, _ = io.WriteString(w, strings.Repeat("All is well. ", 1000))
})

// Callers who close their bodies, read or not, keep their connection.
func ExampleReuse() {
	server := httptest.NewServer(page)
	defer server.Close()
	reuse := &transport.Reuse{Base: transport.New(64)}
	defer reuse.CloseIdleConnections()
	client := &http.Client{Transport: reuse}

	healthy := func() bool {
		resp, err := client.Get(server.URL)
		if err != nil {
			return false
		}
		defer resp.Body.Close() // enough
		return resp.StatusCode == http.StatusOK
	}
	for range 100 {
		if !healthy() {
			fmt.Println("not healthy")
		}
	}
	s := reuse.Stats()
	fmt.Println(s.Requests, "requests,", s.Dialed, "connection,", s.Drained, "bodies read by Close")
	// Output: 100 requests, 1 connection, 100 bodies read by Close
}

// The limits decide what a connection is worth.
func ExampleReuse_abandoned() {
	server := httptest.NewServer(page)
	defer server.Close()
	reuse := &transport.Reuse{DrainBytes: 4096, DrainTime: 20 * time.Millisecond}
	defer reuse.CloseIdleConnections()
	for range 3 {
		resp, err := (&http.Client{Transport: reuse}).Get(server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close() // known to be too much, so nothing is read
	}
	s := reuse.Stats()
	fmt.Println(s.Abandoned, "bodies abandoned,", s.DrainedBytes, "bytes read,", s.Dialed, "connections")
	// Output: 3 bodies abandoned, 0 bytes read, 3 connections
}

// An error of Timeout is told apart like that of http.Client.Timeout.
func ExampleReuse_timeout() {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	defer server.Close()
	client := &http.Client{Transport: &transport.Reuse{Timeout: 10 * time.Millisecond}}
	_, err := client.Get(server.URL)
	timeout, ok := err.(interface{ Timeout() bool })
	fmt.Println(ok && timeout.Timeout())
	// Output: true
}

// For a page of metrics: how well each host's connections are used.
func ExampleReuse_Hosts() {
	server := httptest.NewServer(page)
	defer server.Close()
	reuse := &transport.Reuse{}
	defer reuse.CloseIdleConnections()
	for range 20 {
		if resp, err := (&http.Client{Transport: reuse}).Get(server.URL); err == nil {
			_ = resp.Body.Close()
		}
	}
	for host, s := range reuse.Hosts() {
		fmt.Println(strings.HasPrefix(host, "127.0.0.1:"), s.Requests, s.Dialed, s.ReuseRatio())
	}
	// Output: true 20 1 0.95
}

func ExampleStats() {
	s := transport.Stats{Requests: 1000, Reused: 830, Dialed: 170}
	fmt.Printf("%.0f%% of the requests found a connection\n", 100*s.ReuseRatio())
	// Output: 83% of the requests found a connection
}

func ExampleNew() {
	t := transport.New(64) // as many as are in flight to one host
	t.IdleConnTimeout = 45 * time.Second
	fmt.Println(t.MaxIdleConnsPerHost, t.MaxIdleConns)
	// Output: 64 128
}

// A host that is asked once is not worth an idle connection.
func ExampleTransient() {
	server := transporttest.NewServer(new(testing.T), page)
	defer server.Close()
	client := &http.Client{Transport: transport.Transient()}
	for range 3 {
		if resp, err := client.Get(server.URL); err == nil {
			_ = resp.Body.Close()
		}
	}
	fmt.Println(server.Conns(), "connections")
	// Output: 3 connections
}

// Code that is handed a client keeps its connections too.
func ExampleDrainClose() {
	server := transporttest.NewServer(new(testing.T), page)
	defer server.Close()
	client := server.Client() // without Reuse

	for range 10 {
		resp, err := client.Get(server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.ReadFull(resp.Body, make([]byte, 5))
		_ = transport.DrainClose(resp.Body)
	}
	fmt.Println(server.Conns(), "connection")
	// Output: 1 connection
}

// A server that closes a connection just when it is used again has not answered,
// and net/http does not know whether a POST may be sent twice.
func ExampleMarkRetryable() {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%2 == 0 {
			panic(http.ErrAbortHandler) // hangs up
		}
		fmt.Println(r.Method, r.Header["Idempotency-Key"] != nil)
	}))
	defer server.Close()
	reuse := &transport.Reuse{}
	defer reuse.CloseIdleConnections()

	for range 2 {
		req, err := http.NewRequest(http.MethodPost, server.URL, strings.NewReader("samples"))
		if err != nil {
			fmt.Println(err)
			return
		}
		transport.MarkRetryable(req)
		resp, err := (&http.Client{Transport: reuse}).Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
	}
	fmt.Println(requests.Load(), "requests for 2")
	// Output:
	// POST false
	// POST false
	// 3 requests for 2
}

func ExampleRetryAfter() {
	for _, h := range []http.Header{
		{"Retry-After": {"2"}, "Retry-After-Ms": {"1370"}}, // the finer one wins
		{"Retry-After": {"120"}},
		{"Retry-After": {"Fri, 31 Dec 1999 23:59:59 GMT"}, "Date": {"Fri, 31 Dec 1999 23:59:29 GMT"}},
		{"Retry-After": {"soon"}},
	} {
		fmt.Println(transport.RetryAfter(h))
	}
	// Output:
	// 1.37s true
	// 2m0s true
	// 30s true
	// 0s false
}

// Whole seconds bring clients back in step; those that know the second header
// come back when they are expected.
func ExampleSetRetryAfter() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		transport.SetRetryAfter(w.Header(), 1370*time.Millisecond)
		http.Error(w, "busy", http.StatusServiceUnavailable)
	})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Header().Get("Retry-After"), w.Header().Get("Retry-After-Ms"))
	// Output: 2 1370
}

// A transport of New whose connections are probed more often, for a network that
// forgets them after 20 seconds.
func ExampleDialer() {
	dialer := transport.Dialer()
	dialer.KeepAliveConfig.Idle = 10 * time.Second
	base := transport.New(64)
	base.DialContext = dialer.DialContext
	client := &http.Client{Transport: &transport.Reuse{Base: base, Timeout: time.Minute}}
	defer client.CloseIdleConnections()

	fmt.Println(dialer.KeepAliveConfig.Idle, dialer.KeepAliveConfig.Interval, dialer.KeepAliveConfig.Count)
	// Output: 10s 5s 3
}

// A server that falls silent ends a request after five seconds, however long an answer
// that goes on may take.
func ExampleReuse_silence() {
	synctest.Test(new(testing.T), func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range 10 {
				_, _ = io.WriteString(w, "line\n")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(4 * time.Second)
			}
			time.Sleep(time.Hour)
		}))
		client := &http.Client{Transport: &transport.Reuse{Base: srv.Client().Transport, Silence: 5 * time.Second}}
		resp, err := client.Get(srv.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		start := time.Now()
		text, err := io.ReadAll(resp.Body)
		fmt.Println(len(text), "bytes after", time.Since(start))
		fmt.Println(err)
	})
	// Output:
	// 50 bytes after 41s
	// transport: no byte of the answer for 5s: context canceled
}
