//go:build unix

package listener_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/connhygiene/connhygiene/listener"
)

// inherited is the descriptor of the socket in a successor: the first of ExtraFiles.
const inherited = 3

// takeOver returns the gate of a process: over the socket of its predecessor, or a new
// one. Its clients wait until it opens.
func takeOver(ctx context.Context, address string) (*listener.Gate, error) {
	if os.Getenv("HANDOVER") == "" {
		return listener.Config{Park: true}.Reserve(ctx, "tcp", address)
	}
	f := os.NewFile(inherited, "socket")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return listener.NewGate(l), nil
}

// handOver starts the successor with the socket and waits until it serves.
func handOver(gate *listener.Gate, successor *exec.Cmd) error {
	f, err := gate.File()
	if err != nil {
		return err
	}
	defer f.Close()
	ready, told, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	successor.Env = append(os.Environ(), "HANDOVER=1")
	successor.ExtraFiles = []*os.File{f, told}
	err = successor.Start()
	_ = told.Close()
	if err != nil {
		return err
	}
	_, err = io.ReadFull(ready, make([]byte, 1)) // EOF if the successor ends before it serves
	return err
}

// serve runs a server until SIGUSR2, when a successor takes over, or SIGTERM. In
// neither case a request fails: after a handover those that are under way finish here,
// and clients that wait in the queue are the successor's.
func serve(ctx context.Context, address string, successor *exec.Cmd, ready func(net.Addr)) error {
	gate, err := takeOver(ctx, address)
	if err != nil {
		return err
	}
	agents := listener.Throttle(gate, listener.Limits{MaxPending: 100})
	srv := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) }),
		ConnState: listener.ConnState,
	}
	end := listener.HTTPEnd(srv, 0)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(agents) }()
	if err := gate.Open(ctx); err != nil {
		return err
	}
	if os.Getenv("HANDOVER") != "" {
		told := os.NewFile(inherited+1, "ready")
		_, err := told.Write([]byte{1})
		if err = errors.Join(err, told.Close()); err != nil {
			return err
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2, syscall.SIGTERM)
	defer signal.Stop(signals)
	ready(gate.Addr())
	for {
		select {
		case err := <-failed:
			return err
		case s := <-signals:
			if s == syscall.SIGUSR2 {
				if err := handOver(gate, successor); err != nil {
					fmt.Fprintln(os.Stderr, "no successor, going on:", err)
					continue
				}
			}
		}
		break
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 25*time.Second)
	defer cancel()
	return errors.Join(agents.Drain(ctx, 1000, end), srv.Shutdown(ctx))
}

// A server whose successor takes its socket over, so that no connection is refused or
// reset. exec.Command(os.Args[0], os.Args[1:]...) is the successor of a program.
func Example_handover() {
	listening := make(chan net.Addr, 1)
	served := make(chan error, 1)
	go func() {
		served <- serve(context.Background(), "127.0.0.1:0", exec.Command("false"), func(a net.Addr) { listening <- a })
	}()
	addr := <-listening
	self, _ := os.FindProcess(os.Getpid())

	_ = self.Signal(syscall.SIGTERM)
	fmt.Println(<-served)
	_, err := net.Dial("tcp", addr.String())
	fmt.Println(errors.Is(err, syscall.ECONNREFUSED))
	// Output:
	// <nil>
	// true
}
