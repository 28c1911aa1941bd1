package connhygiene_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/listener"
)

// A client that comes back politely.
func Example_client() {
	ctx, cancel := context.WithCancel(context.Background())
	connect := func(_ context.Context, up func()) error {
		up()
		cancel() // one session is enough for an example
		return errors.New("stream lost")
	}
	var b backoff.Backoff // 500ms to 30s, doubling, half of each delay random
	for b.Next(ctx) {     // waits what is due; false means stop, see b.Err
		err := connect(ctx, b.Up) // calls Up once connected, returns when the stream is lost
		b.Fail(err)
	}
	fmt.Println(errors.Is(b.Err(), context.Canceled))
	// Output: true
}

// A server that lets in what it can serve.
func Example_server() {
	ctx := context.Background()
	srv := &http.Server{Handler: http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) {
			fmt.Println("logged in:", listener.AdmitContext(r.Context()))
		})}
	serve := func() (*listener.Gate, error) {
		gate, err := listener.Config{Park: true}.Reserve(ctx, "tcp", "127.0.0.1:0") // clients wait, none is refused
		if err != nil {
			return nil, err
		}
		srv.ConnContext = listener.ConnContext // handlers call listener.AdmitContext once a client has logged in
		go srv.Serve(listener.Throttle(gate, listener.Limits{MaxPending: 20}))
		return gate, gate.Open(ctx) // once the server is ready
	}
	gate, err := serve()
	if err != nil {
		fmt.Println(err)
		return
	}
	visit(gate.Addr())
	_ = srv.Close()
	// Output: logged in: true
}

func visit(addr net.Addr) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
}
