package listener_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/connhygiene/connhygiene/listener"
)

// The port is ours before it is open: it can be announced, nobody else can take
// it, and clients that come too early know at once.
func ExampleReserve() {
	ctx := context.Background()
	gate, err := listener.Reserve(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	addr := gate.Addr().String() // final

	_, err = net.Dial("tcp", addr)
	fmt.Println("refused:", errors.Is(err, syscall.ECONNREFUSED))
	_, err = net.Listen("tcp", addr)
	fmt.Println("taken:", errors.Is(err, syscall.EADDRINUSE))

	if err := gate.Open(ctx); err != nil {
		fmt.Println(err)
		return
	}
	c, err := net.Dial("tcp", addr)
	fmt.Println("connected:", err == nil)
	_ = c.Close()
	// Output:
	// refused: true
	// taken: true
	// connected: true
}

// A server that reaches itself through its private port before it lets others in.
func ExampleTwoPhase() {
	ctx := context.Background()
	l, err := listener.ListenTwoPhase(ctx, "tcp", "127.0.0.1:0", "127.0.0.1:0", listener.Limits{MaxPending: 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	self, err := net.Dial("tcp", l.Private.Addr().String())
	fmt.Println("private:", err == nil)
	_ = self.Close()
	_, err = net.Dial("tcp", l.Addr().String())
	fmt.Println("public, too early:", errors.Is(err, syscall.ECONNREFUSED))
	_ = l.Open(ctx)
	agent, err := net.Dial("tcp", l.Addr().String())
	fmt.Println("public:", err == nil)
	_ = agent.Close()
	// Output:
	// private: true
	// public, too early: true
	// public: true
}
