package connhygiene_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/listener"
)

// A client that reconnects with exponential backoff and jitter.
func Example_client() {
	ctx, cancel := context.WithCancel(context.Background())
	connect := func(_ context.Context, up func()) error {
		up()
		cancel() // one session is enough for an example
		return errors.New("stream lost")
	}
	err := reconnect(ctx, connect)
	fmt.Println(errors.Is(err, context.Canceled))
	// Output: true
}

func reconnect(ctx context.Context, connect func(ctx context.Context, up func()) error) error {
	b := backoff.Backoff{Splay: 10 * time.Second} // 800 agents and 80 logins a second
	for b.Next(ctx) {
		b.Fail(connect(ctx, b.Up)) // connect calls Up after the login, and returns when the stream is lost
	}
	return b.Err() // the end of ctx, in an ordinary shutdown
}

// A server that lets in no more logins at once than it can answer.
func Example_server() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- serve(ctx, l, func(*http.Request) error { return nil }) }()
	visit(l.Addr())
	cancel()
	fmt.Println(<-served)
	// Output:
	// 200 OK
	// http: Server closed
}

func serve(ctx context.Context, l net.Listener, login func(*http.Request) error) error {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := login(r); err != nil {
			w.Header().Set("Connection", "close")            // or its next tries are not limited
			http.Error(w, "denied", http.StatusUnauthorized) // 503 if there is no verdict: ttlcache knows
			return
		}
		listener.AdmitContext(r.Context()) // logged in: the next client may begin
		fmt.Fprintln(w, "welcome")
	})
	srv := &http.Server{Handler: handler, ConnContext: listener.ConnContext, ConnState: listener.ConnState}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	return srv.Serve(listener.Throttle(l, listener.Limits{MaxPending: 20})) // http.ErrServerClosed at the end of ctx
}

func visit(addr net.Addr) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.Status)
	_ = resp.Body.Close()
}
