package transport_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"time"

	"github.com/connhygiene/connhygiene/transport"
)

// forget sends a request and forgets to close the body of its answer.
func forget(client *http.Client, url string) {
	resp, err := client.Get(url) //nolint:bodyclose // which is the point
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.Status)
}

// A body that nobody closed is reported with who sent its request, and closed.
func ExampleLeak() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "a body that is not read")
	}))
	defer server.Close()
	leaks := make(chan transport.Leak, 1)
	reuse := &transport.Reuse{OnLeak: func(l transport.Leak) { leaks <- l }}
	defer reuse.CloseIdleConnections()

	forget(&http.Client{Transport: reuse}, server.URL+"/who-did-it")
	for found := false; !found; {
		runtime.GC() // a program waits for the next one
		select {
		case l := <-leaks:
			fmt.Println(l.Method, l.URL == server.URL+"/who-did-it", bytes.Contains(l.Stack, []byte("forget")))
			found = true
		case <-time.After(time.Millisecond):
		}
	}
	// Output:
	// 200 OK
	// GET true true
}
