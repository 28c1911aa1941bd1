package listenertest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// An HTTP server and its client in one process, without a port.
func Example() {
	l := listenertest.New()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello ", r.Host)
	})}
	go srv.Serve(l)
	defer srv.Close()

	client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
	resp, err := client.Get("http://anywhere/")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Println(string(body))
	// Output: hello anywhere
}

func ExampleNew() {
	l := listenertest.New()
	defer l.Close()
	fmt.Println(l.Addr().Network(), l.Queued())
	// Output: pipe 0
}

// Clients are connected before they are accepted, as by a kernel.
func ExampleListener_Dial() {
	ctx := context.Background()
	l := listenertest.New()
	defer l.Close()
	client, _ := l.Dial(ctx)
	fmt.Println("queued:", l.Queued())
	server, _ := l.Accept()
	fmt.Fprint(client, "hello")
	_ = client.Close()
	got, _ := io.ReadAll(server)
	fmt.Println(string(got))
	// Output:
	// queued: 1
	// hello
}

// A client with an address of one's choice: what the server sees of it.
func ExampleListener_DialFrom() {
	l := listenertest.New()
	defer l.Close()
	_, _ = l.DialFrom(context.Background(), listenertest.Addr("kitchen"))
	c, _ := l.Accept()
	fmt.Println(c.RemoteAddr())
	// Output: kitchen
}

func ExampleAddr() {
	a := listenertest.Addr("kitchen")
	fmt.Println(a.Network(), a)
	// Output: pipe kitchen
}
