package listener_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// A server lets its clients go to other replicas, ten a second.
func ExampleThrottled_Drain() {
	inner := listenertest.New()
	l := listener.Throttle(inner, listener.Limits{MaxConns: 100})
	defer l.Close()
	client, _ := inner.Dial(context.Background())
	_, _ = l.Accept()
	err := l.Drain(context.Background(), 10, func(c net.Conn) {
		fmt.Fprintln(c, "moved")
		_ = c.Close()
	})
	said, _ := io.ReadAll(client)
	fmt.Printf("%v %s", err, said)
	fmt.Println(l.State(), l.Stats().Drained)

	fmt.Println(errors.Is(l.Drain(context.Background(), 0, nil), listener.ErrPace))
	// Output:
	// <nil> moved
	// closed 1
	// true
}

// A replica that has two connections too many lets them go to the others.
func ExampleThrottled_Rebalance() {
	inner := listenertest.New()
	l := listener.Throttle(inner, listener.Limits{MaxConns: 100})
	defer l.Close()
	for range 5 {
		_, _ = inner.Dial(context.Background())
		_, _ = l.Accept()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	average := func() int { return 3 }
	end := func(c net.Conn) {
		_ = c.Close()
		if l.Stats().Open <= average() {
			cancel() // a server goes on until its own end
		}
	}
	err := l.Rebalance(ctx, 1000, average, end) // one in several seconds in real life
	fmt.Println(l.Stats().Open, err)
	// Output: 3 context canceled
}

// What a balancer's health check asks for.
func ExampleThrottled_State() {
	l := listener.Throttle(listenertest.New(), listener.Limits{})
	defer l.Close()
	fmt.Println(l.State())
	_ = l.Drain(context.Background(), math.Inf(1), nil)
	fmt.Println(l.State())
	// Output:
	// opened
	// closed
}

// An HTTP server whose handlers know nothing of the drain.
func ExampleHTTPEnd() {
	inner := listenertest.New()
	agents := listener.Throttle(inner, listener.Limits{MaxPending: 20})
	srv := &http.Server{ConnState: listener.ConnState, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	})}
	end := listener.HTTPEnd(srv, 10*time.Millisecond)
	go srv.Serve(agents)

	c, _ := inner.Dial(context.Background())
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: agents\r\n\r\n")
	r := bufio.NewReader(c)
	resp, _ := http.ReadResponse(r, nil)
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body), resp.Close)
	fmt.Println(agents.Drain(context.Background(), 100, end), srv.Close())
	_, err := r.ReadByte()
	fmt.Println(err)
	// Output:
	// hello false
	// <nil> <nil>
	// EOF
}

// The handler of a stream says its last word.
func ExampleLeaving() {
	inner := listenertest.New()
	l := listener.Throttle(inner, listener.Limits{MaxConns: 100})
	defer l.Close()
	client, _ := inner.Dial(context.Background())
	c, _ := l.Accept()
	ctx := listener.ConnContext(context.Background(), c) // http.Server.ConnContext does it
	go func() {
		<-listener.Leaving(ctx)
		fmt.Fprintln(c, "come back in 20ms")
		_ = c.Close()
	}()
	fmt.Println(l.Drain(context.Background(), 10, func(net.Conn) {})) // Leaving is enough
	said, _ := io.ReadAll(client)
	fmt.Print(string(said))
	// Output:
	// <nil>
	// come back in 20ms
}

// Health checkers on the port of the agents hold no pending place once they are answered.
func ExampleConnState() {
	inner := listenertest.New()
	l := listener.Throttle(inner, listener.Limits{MaxPending: 1})
	srv := &http.Server{
		ConnState: listener.ConnState,
		Handler:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	}
	go srv.Serve(l)
	for range 3 { // each keeps its connection
		checker := http.Client{Transport: &http.Transport{DialContext: inner.DialContext}}
		resp, err := checker.Get("http://agents/health")
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
		defer checker.CloseIdleConnections()
	}
	fmt.Println(l.Stats().Open)
	_ = srv.Close()
	// Output: 3
}
