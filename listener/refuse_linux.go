package listener

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// refusing returns a binding where clients are refused until it listens.
func refusing(ctx context.Context, lc net.ListenConfig, network, address string) (binding, net.Addr, error) {
	f, resolved, err := bindOnly(ctx, lc, network, address)
	if err != nil {
		return nil, nil, err
	}
	addr, err := boundAddr(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		g, err := newGuard(f, lc, network, resolved, tcp.Port)
		return g, addr, err
	}
	s, err := newSocketFile(f, lc, addr)
	return s, addr, err
}

// A guard keeps a TCP port with a socket that is bound and never listens. The
// kernel refuses clients, gives the port to nobody, neither for ":0" nor for an
// outgoing connection, and lets a second socket listen on it as long as both have
// SO_REUSEADDR: so the guard has it while the gate opens, and not while it is
// closed. A listening socket that was shut down instead would have lost a port that
// came from ":0" (and haproxy/haproxy#382).
type guard struct {
	f       *os.File
	lc      net.ListenConfig
	network string
	address string // as resolved, with the port
}

func newGuard(f *os.File, lc net.ListenConfig, network, resolved string, port int) (*guard, error) {
	host, _, err := net.SplitHostPort(resolved)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	g := &guard{f, lc, network, net.JoinHostPort(host, strconv.Itoa(port))}
	if err := g.share(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return g, nil
}

func (g *guard) listen(ctx context.Context) (net.Listener, error) {
	if err := g.share(1); err != nil {
		return nil, err
	}
	l, err := g.lc.Listen(ctx, g.network, g.address)
	if err != nil {
		return nil, errors.Join(err, g.share(0))
	}
	return l, nil
}

func (g *guard) leave(l net.Listener) error {
	return errors.Join(g.share(0), l.Close()) // in this order, or the port is open to others
}

func (g *guard) release(l net.Listener) error {
	if l == nil {
		return g.f.Close()
	}
	return errors.Join(l.Close(), g.f.Close())
}

func (g *guard) file(l net.Listener) (*os.File, error) { return fileOf(l) }

func (g *guard) share(on int) error {
	return control(g.f, func(fd int) error {
		return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, on))
	})
}

var errBound = errors.New("bound")

// bindOnly makes the socket that lc would listen on, binds it, and returns it with
// the address that lc has resolved. net always listens, but lets Control fail
// before, at which point the socket exists: its duplicate outlives that.
func bindOnly(ctx context.Context, lc net.ListenConfig, network, address string) (f *os.File, resolved string, err error) {
	users := lc.Control
	lc.SetMultipathTCP(false) // the guard carries no traffic
	lc.Control = func(network, address string, rc syscall.RawConn) error {
		if users != nil {
			if err := users(network, address, rc); err != nil {
				return err
			}
		}
		resolved = address
		if f, err = duplicate(rc, address); err != nil {
			return err
		}
		if err := control(f, func(fd int) error { return bind(fd, network, address) }); err != nil {
			return errors.Join(err, f.Close())
		}
		return errBound
	}
	l, err := lc.Listen(ctx, network, address)
	switch {
	case err == nil:
		return nil, "", errors.Join(errors.New("listener: ListenConfig has ignored its Control"), l.Close())
	case errors.Is(err, errBound):
		return f, resolved, nil
	}
	return nil, "", err
}

func duplicate(rc syscall.RawConn, name string) (f *os.File, err error) {
	cerr := rc.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		dup, derr := syscall.Dup(int(fd))
		if err = os.NewSyscallError("dup", derr); err != nil {
			return
		}
		syscall.CloseOnExec(dup)
		f = os.NewFile(uintptr(dup), name)
	})
	if cerr != nil {
		return nil, cerr
	}
	return f, err
}

func control(c syscall.Conn, f func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

func bind(fd int, network, address string) error {
	var sa syscall.Sockaddr = &syscall.SockaddrUnix{Name: address}
	if network[0] == 't' {
		var err error
		if sa, err = tcpSockaddr(fd, address); err != nil {
			return err
		}
	}
	return os.NewSyscallError("bind", syscall.Bind(fd, sa))
}

// tcpSockaddr is address in the socket's family, which net has chosen: IPv6 for
// a wildcard that is to serve both, even if it is written 0.0.0.0.
func tcpSockaddr(fd int, address string) (syscall.Sockaddr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	var ip netip.Addr
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return nil, err
		}
	}
	unbound, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	if _, ok := unbound.(*syscall.SockaddrInet4); ok {
		sa := &syscall.SockaddrInet4{Port: p}
		if ip.IsValid() {
			sa.Addr = ip.Unmap().As4()
		}
		return sa, nil
	}
	sa := &syscall.SockaddrInet6{Port: p, ZoneId: zoneID(ip.Zone())}
	if ip.IsValid() && !ip.IsUnspecified() {
		sa.Addr = ip.As16()
	}
	return sa, nil
}

func zoneID(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32) // 0, no zone, if it is no number
	return uint32(n)
}

// boundAddr asks net, which takes a socket for a listener without looking
// whether it listens.
func boundAddr(f *os.File) (net.Addr, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	addr := l.Addr()
	return addr, l.Close()
}
