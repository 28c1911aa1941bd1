//go:build unix

package listener_test

import (
	"context"
	"fmt"
	"net"

	"github.com/connhygiene/connhygiene/listener"
)

// The successor has the same socket. Here it is in the same process; the handover example
// is a whole program.
func ExampleGate_File() {
	ctx := context.Background()
	gate, err := listener.Config{Park: true}.Reserve(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := gate.File()
	if err != nil {
		fmt.Println(err)
		return
	}
	inherited, err := net.FileListener(f)
	_ = f.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	successor := listener.NewGate(inherited)
	defer successor.Close()
	fmt.Println(gate.Close(), successor.Addr().String() == gate.Addr().String())
	fmt.Println(successor.Open(ctx), successor.State())
	// Output:
	// <nil> true
	// <nil> opened
}
