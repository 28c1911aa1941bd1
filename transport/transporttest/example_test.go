package transporttest_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// printer is a test that prints its failures.
type printer struct{ testing.TB }

func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// long is a handler whose answers are longer than what anybody drains.
var long = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write(make([]byte, 10<<20))
})

// The failure says which request did not reuse its connection, and why.
func ExampleServer_WantConns() {
	synctest.Test(new(testing.T), func(t *testing.T) {
		srv := transporttest.NewPipeServer(printer{t}, long)
		for range 2 {
			resp, err := srv.Client().Get(srv.URL + "/report")
			if err != nil {
				fmt.Println(err)
				return
			}
			_ = resp.Body.Close() // unread
			synctest.Wait()       // until the server has noticed
		}
		srv.WantConns(1)
	})
	// Output:
	// transporttest: 2 connections for 2 requests, want at most 1
	// 	connections 1 and 2, each: one request, GET /report (transporttest/example_test.go:30); then closed by the client: the body of its last answer was not read to EOF before Close, or its context ended
}

func ExampleCheck() {
	synctest.Test(new(testing.T), func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, long)
		client := srv.Client()
		transporttest.Check(printer{t}, client)

		resp, err := client.Get(srv.URL + "/report") //nolint:bodyclose // which is the point
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(resp.Status)
	})
	// Output:
	// 200 OK
	// transporttest: the body of GET http://pipe.test/report (transporttest/example_test.go:51) was never closed (1 times)
}

func hello(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello over "+r.Proto) }

// greet gets and prints a greeting.
func greet(srv *transporttest.Server) {
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	fmt.Println(string(text), err)
}

func ExampleNewServer() {
	srv := transporttest.NewServer(new(testing.T), http.HandlerFunc(hello))
	defer srv.Close() // a real test does so at its end
	greet(srv)
	greet(srv)
	fmt.Println(srv.Requests(), "requests,", srv.Conns(), "connection")
	// Output:
	// hello over HTTP/1.1 <nil>
	// hello over HTTP/1.1 <nil>
	// 2 requests, 1 connection
}

func ExampleNewTLSServer() {
	srv := transporttest.NewTLSServer(new(testing.T), http.HandlerFunc(hello))
	defer srv.Close()
	greet(srv)
	// Output: hello over HTTP/1.1 <nil>
}

func ExampleNewHTTP2Server() {
	srv := transporttest.NewHTTP2Server(new(testing.T), http.HandlerFunc(hello))
	defer srv.Close()
	greet(srv)
	// Output: hello over HTTP/2.0 <nil>
}

// An idle connection is given up after 90 seconds, which pass at once.
func ExampleNewPipeServer() {
	synctest.Test(new(testing.T), func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(hello))
		for _, pause := range []time.Duration{0, 80 * time.Second, 100 * time.Second} {
			time.Sleep(pause)
			greet(srv)
			fmt.Println(srv.Conns())
		}
	})
	// Output:
	// hello over HTTP/1.1 <nil>
	// 1
	// hello over HTTP/1.1 <nil>
	// 1
	// hello over HTTP/1.1 <nil>
	// 2
}

// The connections that are open fall silent; another one works.
func ExampleServer_Vanish() {
	synctest.Test(new(testing.T), func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(hello))
		client := &http.Client{Transport: &transport.Reuse{Base: srv.Client().Transport}, Timeout: 3 * time.Second}
		for i := range 4 {
			if i == 2 {
				srv.Vanish()
			}
			resp, err := client.Get(srv.URL)
			if err != nil {
				fmt.Println("nobody answers")
				continue
			}
			fmt.Println(resp.Status)
			_ = resp.Body.Close()
		}
	})
	// Output:
	// 200 OK
	// 200 OK
	// nobody answers
	// 200 OK
}
