//go:build unix

package listener_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/connhygiene/connhygiene/listener"
)

// activated returns the gate of the first socket that systemd has opened for us
// (sd_listen_fds(3): they begin at 3). It listens since before we lived, so its
// clients are parked and not refused, whatever takes us so long to start.
func activated(first uintptr) (*listener.Gate, error) {
	if pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID")); pid != os.Getpid() {
		return nil, errors.New("not started by socket activation")
	}
	f := os.NewFile(first, "LISTEN_FD")
	defer f.Close() // FileListener makes a duplicate
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return listener.NewGate(l), nil
}

// Socket activation by systemd: the socket unit parks clients while the service
// restarts, and the gate until it is ready.
func Example_socketActivation() {
	socket, addr := systemd()
	early, err := net.Dial("tcp", addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer early.Close()

	gate, err := activated(socket)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	_ = gate.Open(context.Background()) // the database is there
	c, err := gate.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println("nobody was refused:", c.RemoteAddr().String() == early.LocalAddr().String())
	// Output: nobody was refused: true
}

// systemd does what it does before it starts a service, but for descriptor 3.
func systemd() (socket uintptr, addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	rc, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		panic(err)
	}
	_ = rc.Control(func(fd uintptr) {
		dup, err := syscall.Dup(int(fd))
		if err != nil {
			panic(err)
		}
		socket = uintptr(dup)
	})
	_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	return socket, l.Addr().String()
}
