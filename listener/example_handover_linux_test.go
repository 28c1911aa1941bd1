package listener_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/connhygiene/connhygiene/listener"
)

// retire lets a server go without a request lost: new clients are refused and go
// to another replica, those that are here finish, and only then is the port free.
func retire(srv *http.Server, gate *listener.Gate) error {
	if err := gate.Shut(); err != nil { // the port stays ours
		return err
	}
	srv.SetKeepAlivesEnabled(false) // the next answer on each connection is the last
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(ctx) // waits for requests; closes the gate
}

// A graceful handover: Shut, drain, Close.
func Example_handover() {
	ctx := context.Background()
	gate, err := listener.Reserve(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	busy, finish := make(chan struct{}), make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(busy)
		<-finish
	})}
	shut := make(chan struct{})
	srv.RegisterOnShutdown(func() { close(shut) })
	go srv.Serve(gate)
	_ = gate.Open(ctx)

	answered := make(chan string)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + gate.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		_ = resp.Body.Close()
		answered <- resp.Status
	}()
	<-busy
	retired := make(chan error)
	go func() { retired <- retire(srv, gate) }()
	<-shut
	fmt.Println("clients are refused:", gate.State() != listener.Opened)
	close(finish)
	fmt.Println(<-answered)
	fmt.Println(<-retired, gate.State())

	successor, err := net.Listen("tcp", gate.Addr().String())
	fmt.Println("port is free:", err == nil)
	_ = successor.Close()
	// Output:
	// clients are refused: true
	// 200 OK
	// <nil> done
	// port is free: true
}
