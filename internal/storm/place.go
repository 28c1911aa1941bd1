package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// The hosts of the URLs that agents and the server's own check use; a place
// knows where they are.
const (
	publicHost  = "public:80"
	privateHost = "private:80"
)

// place is where the server is found: at first nowhere, and dials are refused.
type place interface {
	// bind makes the public address reachable: clients' connects wait in a
	// parked gate until it is opened.
	bind(ctx context.Context) (*listener.Gate, error)
	// private listens where only the server itself connects.
	private(ctx context.Context) (net.Listener, error)
	// vacate refuses connects again, once the gate that bind returned is closed.
	vacate(ctx context.Context) error
	// dial connects to publicHost or privateHost.
	dial(ctx context.Context, network, host string) (net.Conn, error)
	close() error
}

func newPlace(ctx context.Context, c Config) (place, error) {
	if c.Memory {
		return &pipes{}, nil
	}
	return newLoopback(ctx, c.Address)
}

// loopback is a place on real TCP. While the server is dead a refusing gate
// keeps the port, so that no outgoing connection can be given it.
type loopback struct {
	dialer net.Dialer

	mu       sync.Mutex // guards the fields below
	guard    guard
	public   string
	internal string
}

func newLoopback(ctx context.Context, address string) (*loopback, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	guard, err := reserve(ctx, address)
	if err != nil {
		return nil, &FieldError{"addr", address, addressLimit(err)}
	}
	return &loopback{guard: guard, public: guard.Addr().String()}, nil
}

// A guard keeps a port on which no server listens.
type guard interface {
	Addr() net.Addr
	Close() error
}

// reserve returns a guard of a free port. Where the system has none (Windows), it finds
// out that the port is free, and another program may take it.
func reserve(ctx context.Context, address string) (guard, error) {
	gate, err := listener.Reserve(ctx, "tcp", address)
	if err == nil {
		return gate, nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return unguarded{l.Addr()}, l.Close()
}

type unguarded struct{ addr net.Addr }

func (u unguarded) Addr() net.Addr { return u.addr }
func (unguarded) Close() error     { return nil }

// wsaEADDRINUSE is what Windows calls EADDRINUSE.
const wsaEADDRINUSE = syscall.Errno(10048)

func addressLimit(err error) string {
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEADDRINUSE) {
		return "must be a free TCP address, this one is in use"
	}
	return fmt.Sprintf("must be a TCP address of this machine: %v", err)
}

func (l *loopback) bind(ctx context.Context) (*listener.Gate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.guard.Close(); err != nil {
		return nil, err
	}
	return listener.Config{Park: true}.Reserve(ctx, "tcp", l.public)
}

func (l *loopback) private(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.internal = ln.Addr().String()
	return ln, nil
}

func (l *loopback) vacate(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	guard, err := reserve(ctx, l.public)
	if err != nil {
		return err
	}
	l.guard = guard
	return nil
}

func (l *loopback) dial(ctx context.Context, network, host string) (net.Conn, error) {
	return l.dialer.DialContext(ctx, network, l.address(host))
}

func (l *loopback) address(host string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if host == privateHost {
		return l.internal
	}
	return l.public
}

func (l *loopback) close() error { return l.guard.Close() }

// pipes is a place in memory.
type pipes struct {
	mu       sync.Mutex // guards the fields below
	public   *listenertest.Listener
	internal *listenertest.Listener
}

func (p *pipes) bind(context.Context) (*listener.Gate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.public = listenertest.New()
	return listener.NewGate(p.public), nil
}

func (p *pipes) private(context.Context) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.internal = listenertest.New()
	return p.internal, nil
}

func (p *pipes) vacate(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.public, p.internal = nil, nil
	return nil
}

// errRefused is what a dial gets where no server listens.
var errRefused = &net.OpError{Op: "dial", Net: "pipe", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

func (p *pipes) dial(ctx context.Context, _, host string) (net.Conn, error) {
	l := p.listener(host)
	if l == nil {
		return nil, errRefused
	}
	return l.Dial(ctx)
}

func (p *pipes) listener(host string) *listenertest.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	if host == privateHost {
		return p.internal
	}
	return p.public
}

func (p *pipes) close() error { return nil }
