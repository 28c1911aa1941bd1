package listener_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// A listener that listens already, as a parent process hands it over, is a gate
// that parks: its clients are connected and wait until it is opened.
func ExampleNewGate() {
	inherited := listenertest.New() // or net.FileListener
	gate := listener.NewGate(inherited)
	defer gate.Close()

	client, err := inherited.Dial(context.Background())
	fmt.Println("connected:", err == nil, "state:", gate.State())
	_ = gate.Open(context.Background())
	server, _ := gate.Accept()
	fmt.Println("accepted:", server.RemoteAddr() == client.LocalAddr())
	// Output:
	// connected: true state: closed
	// accepted: true
}

func ExampleGate() {
	ctx := context.Background()
	gate := listener.NewGate(listenertest.New())
	fmt.Println(gate.State())
	_ = gate.Open(ctx)
	fmt.Println(gate.State())
	_ = gate.Shut()
	_ = gate.Open(ctx)
	_ = gate.Close()
	fmt.Println(gate.State(), gate.Open(ctx))
	// Output:
	// closed
	// opened
	// done open pipe listenertest: use of closed network connection
}

func ExampleGateStats() {
	l := listenertest.New()
	gate := listener.NewGate(l)
	defer gate.Close()
	_, _ = l.Dial(context.Background())
	_ = gate.Open(context.Background())
	_, _ = gate.Accept()
	fmt.Printf("%+v\n", gate.Stats())
	// Output: {Accepted:1 Reset:0 AcceptErrors:0 Openings:1}
}

func ExampleState() {
	fmt.Println(listener.Closed, listener.Opened, listener.Done)
	// Output: closed opened done
}

// Bind early and accept late: clients that come meanwhile are connected by the
// kernel, and none has to come twice.
func ExampleConfig() {
	ctx := context.Background()
	gate, err := listener.Config{Park: true}.Reserve(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	client, err := net.Dial("tcp", gate.Addr().String())
	fmt.Println("connected:", err == nil)
	defer client.Close()

	_ = gate.Open(ctx) // the database is there
	server, err := gate.Accept()
	fmt.Println("accepted:", err == nil)
	_ = server.Close()
	// Output:
	// connected: true
	// accepted: true
}

// A server that can log in ten clients at once takes twenty, and the next when
// one of them has logged in.
func ExampleThrottle() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{MaxPending: 20})
	defer public.Close()
	for range 100 {
		_, _ = l.Dial(context.Background())
	}
	var last net.Conn
	for range 20 {
		last, _ = public.Accept()
	}
	fmt.Println("pending:", public.Stats().Pending, "in line:", l.Queued())

	listener.Admit(last) // has logged in
	_, err := public.Accept()
	fmt.Println("next:", err == nil)
	// Output:
	// pending: 20 in line: 80
	// next: true
}

// Limits can be changed while the server runs.
func ExampleThrottled() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{MaxPending: 20})
	defer public.Close()
	lim := public.Limits()
	lim.MaxPending = 40
	public.SetLimits(lim)
	fmt.Println(public.Limits().MaxPending)
	// Output: 40
}

// The limits of a public port: MaxPending for what a login costs, PerSource
// against one client that runs wild, and the monitor always gets through.
func ExampleLimits() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{
		MaxPending: 20,
		PerSource:  2,
		Exempt:     func(a net.Addr) bool { return a.String() == "192.0.2.7:7" },
	})
	defer public.Close()
	wild := net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	monitor := net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 7}
	for range 5 {
		_, _ = l.DialFrom(context.Background(), &wild)
	}
	_, _ = l.DialFrom(context.Background(), &monitor)
	for range 3 {
		c, _ := public.Accept()
		fmt.Println(c.RemoteAddr())
	}
	fmt.Println("rejected:", public.Stats().Rejected[listener.OverSource])
	// Output:
	// 192.0.2.1:1
	// 192.0.2.1:1
	// 192.0.2.7:7
	// rejected: 3
}

// Clients that back off are best turned away at once.
func ExampleOverflow() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{MaxConns: 1, Overflow: listener.Reset})
	_, _ = l.Dial(context.Background())
	_, _ = public.Accept()

	late, _ := l.Dial(context.Background())
	go public.Accept()
	_, err := late.Read(make([]byte, 1))
	fmt.Println(err)
	_ = public.Close()
	// Output: read pipe client-2->listenertest: read: connection reset by peer
}

// A goodbye that clients of the protocol understand.
func ExampleReason() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{
		MaxConns: 1,
		Overflow: listener.Reset,
		Reject: func(c net.Conn, why listener.Reason) {
			fmt.Fprintf(c, "421 too many connections (%v)", why)
		},
	})
	_, _ = l.Dial(context.Background())
	_, _ = public.Accept()

	late, _ := l.Dial(context.Background())
	go public.Accept()
	answer := make([]byte, 100)
	n, _ := late.Read(answer)
	fmt.Println(string(answer[:n]))
	_, _ = late.Close(), public.Close()
	// Output: 421 too many connections (conns)
}

func ExampleThrottleStats() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{MaxPending: 20})
	defer public.Close()
	gone, _ := l.Dial(context.Background())
	_ = gone.Close()
	_, _ = l.Dial(context.Background())
	_, _ = public.Accept()
	s := public.Stats()
	fmt.Println("accepted:", s.Accepted, "corpses:", s.Corpses, "open:", s.Open, "pending:", s.Pending)
	for reason, n := range s.Rejected {
		if n > 0 {
			fmt.Println("beyond", reason, n)
		}
	}
	// Output: accepted: 1 corpses: 1 open: 1 pending: 1
}

// A server with a protocol of its own.
func ExampleAdmit() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{MaxPending: 1})
	defer public.Close()
	for range 2 {
		_, _ = l.Dial(context.Background())
	}
	for range 2 {
		c, err := public.Accept() // the second waits for the first to be admitted
		if err != nil {
			return
		}
		greet(c)
		fmt.Println("admitted:", listener.Admit(c))
	}
	// Output:
	// admitted: true
	// admitted: true
}

func greet(net.Conn) {}

// A server that knows no more of a connection than its client's address.
func ExampleThrottled_AdmitAddr() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{MaxPending: 1})
	defer public.Close()
	client, _ := l.Dial(context.Background())
	_, _ = public.Accept()
	peer := client.LocalAddr() // with gRPC: peer.FromContext(ctx).Addr
	fmt.Println(public.AdmitAddr(peer), public.Stats().Pending)
	// Output: true 0
}

// An HTTP server frees the pending place in the handler that has checked who the
// client is.
func ExampleConnContext() {
	l := listenertest.New()
	public := listener.Throttle(l, listener.Limits{MaxPending: 20})
	srv := &http.Server{
		ConnContext: listener.ConnContext,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "secret" {
				listener.AdmitContext(r.Context())
			}
			fmt.Println("pending:", public.Stats().Pending)
		}),
	}
	go srv.Serve(public)
	defer srv.Close()

	client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
	for _, token := range []string{"guess", "secret"} {
		req, _ := http.NewRequest(http.MethodGet, "http://server/", nil)
		req.Header.Set("Authorization", token)
		resp, err := client.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
	}
	// Output:
	// pending: 1
	// pending: 0
}

func ExampleAdmitContext() {
	ctx := context.Background() // that of a connection which is not counted
	fmt.Println(listener.AdmitContext(ctx))
	// Output: false
}

// Two ports, one server, one Close.
func ExampleMerge() {
	private, public := listenertest.New(), listenertest.New()
	both := listener.Merge(private, listener.Throttle(public, listener.Limits{MaxPending: 1}))
	for range 3 {
		_, _ = public.Dial(context.Background())
	}
	_, _ = both.Accept() // the other two wait
	self, _ := private.Dial(context.Background())
	c, _ := both.Accept()
	fmt.Println(c.RemoteAddr() == self.LocalAddr())
	_ = both.Close()
	_, err := both.Accept()
	fmt.Println(errors.Is(err, net.ErrClosed))
	// Output:
	// true
	// true
}

// A listener that dies leaves the others, and Err says so.
func ExampleMerged() {
	private, public := listenertest.New(), listenertest.New()
	both := listener.Merge(private, public)
	defer both.Close()
	_ = public.Close() // by somebody else
	self, _ := private.Dial(context.Background())
	c, _ := both.Accept()
	fmt.Println(c.RemoteAddr() == self.LocalAddr())
	_ = private.Close() // and nothing is left to accept from
	_, err := both.Accept()
	fmt.Println(err)
	fmt.Println(errors.Is(both.Err(), net.ErrClosed))
	// Output:
	// true
	// accept pipe listenertest: use of closed network connection
	// accept pipe listenertest: use of closed network connection
	// true
}

// Without a private address there is one phase: the port is open at once.
func ExampleListenTwoPhase() {
	l, err := listener.Config{Park: true}.ListenTwoPhase(context.Background(), "tcp", "", "127.0.0.1:0", listener.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	fmt.Println(l.Gate.State())
	// Output: opened
}
