package listener

import (
	"cmp"
	"context"
	"net"
)

// Config is how an address is reserved; the zero value is ready.
type Config struct {
	// ListenConfig makes the sockets. Its Control is called for each, before it is
	// bound: by Reserve, and by every Open of a gate that refuses.
	ListenConfig net.ListenConfig

	// Park lets clients wait in the kernel's queue while the gate is closed, which
	// listens from the beginning (bind early, accept late). Clients are connected
	// and hear nothing until Open, so it is for outages that are shorter than their
	// patience: unmodified clients then need one attempt each. The queue holds as
	// many as the system allows (somaxconn, 4096 on Linux); further clients repeat
	// their SYN after 1, 3 and 7 seconds.
	//
	// False refuses them: they know at once, and their backoff decides.
	Park bool
}

// Reserve is [Config.Reserve] of the zero Config.
func Reserve(ctx context.Context, network, address string) (*Gate, error) {
	return Config{}.Reserve(ctx, network, address)
}

// Reserve returns a closed Gate at an address that is taken from now on: Addr is
// final, also for port 0, and no other process can listen there. Until Open,
// clients get ECONNREFUSED, or wait if Park is set.
//
// The network is "tcp", "tcp4", "tcp6", "unix" or "unixpacket"; names that begin
// with "@" are abstract. The file of a Unix socket keeps its mode and owner over
// Shut, and is removed by Close.
//
// The error is that of net.ListenConfig.Listen, or ctx's if that has ended. Refusing needs
// Linux; elsewhere the error is errors.ErrUnsupported unless Park is set, since there a bound
// socket that does not listen cannot share its port with the one that will.
func (c Config) Reserve(ctx context.Context, network, address string) (*Gate, error) {
	if err := cmp.Or(known(network), ctx.Err()); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: name{network, address}, Err: err}
	}
	c.ListenConfig = findsVanished(c.ListenConfig)
	if c.Park {
		l, err := c.ListenConfig.Listen(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return NewGate(l), nil
	}
	b, addr, err := refusing(ctx, c.ListenConfig, network, address)
	if err != nil {
		return nil, err
	}
	return newGate(b, addr, false), nil
}

func known(network string) error {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix", "unixpacket":
		return nil
	}
	return net.UnknownNetworkError(network) // net.Listen takes some that nobody can connect to
}

// A name is an address as it was given, for an error.
type name struct{ network, address string }

func (n name) Network() string { return n.network }

func (n name) String() string { return n.address }
