package listener_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// queueOf is the length of a socket's queue, as the kernel has it.
func queueOf(t *testing.T, l net.Listener) int {
	t.Helper()
	rc, err := l.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	c := capture{conns: []syscall.RawConn{rc}}
	return int(c.backlog(t))
}

// A shared queue is as long as ours says while we accept, and as it was once we have
// closed: two descriptors of one socket stand for two processes.
func TestQueueOfASharedSocket(t *testing.T) {
	needsKernel(t)
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"gate": func(l net.Listener) net.Listener {
			g := listener.NewGate(l)
			require.NoError(t, g.Open(t.Context()))
			return g
		},
		"listener": func(l net.Listener) net.Listener { return l },
	} {
		t.Run(name, func(t *testing.T) {
			first, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			second := duplicate(t, first)
			full := queueOf(t, first)

			predecessor := listener.Throttle(wrap(first), listener.Limits{Rate: 150})
			require.Equal(t, 75, queueOf(t, second))
			successor := listener.Throttle(wrap(second), listener.Limits{Rate: 300})
			require.Equal(t, 150, queueOf(t, second))
			require.NoError(t, predecessor.Close())
			require.Equal(t, 150, queueOf(t, second), "set by another since")

			third := duplicate(t, second)
			same := listener.Throttle(wrap(third), listener.Limits{Rate: 300})
			require.NoError(t, successor.Close())
			dial(t, third.Addr())
			accept(t, same)
			require.Equal(t, 150, queueOf(t, third), "our length while we accept")

			last := duplicate(t, third)
			defer last.Close()
			require.NoError(t, same.Close())
			require.Equal(t, full, queueOf(t, last), "as before")
		})
	}
}

// An inherited queue gets the length back that its owner chose.
func TestQueueOfAnInheritedSocketIsGivenBack(t *testing.T) {
	needsKernel(t)
	owner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer owner.Close()
	rc, err := owner.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, rc.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 333) }))
	require.NoError(t, err)
	l := listener.Throttle(duplicate(t, owner), listener.Limits{Rate: 150})
	require.Equal(t, 75, queueOf(t, owner))
	require.NoError(t, l.Close())
	require.Equal(t, 333, queueOf(t, owner))
}

// duplicate is another process's descriptor of the socket.
func duplicate(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	f, err := l.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	d, err := net.FileListener(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return d
}

// The successor of a gate accepts at the same address, after Shut and after Close.
func TestFileOfAGate(t *testing.T) {
	for _, park := range []bool{false, true} {
		for name, a := range addresses(t) {
			t.Run(name, func(t *testing.T) {
				g, err := listener.Config{Park: park}.Reserve(t.Context(), a[0], a[1])
				require.NoError(t, err)
				if park {
					f, err := g.File()
					require.NoError(t, err)
					require.NoError(t, f.Close())
				} else {
					_, err := g.File()
					require.Error(t, err)
					require.NotErrorIs(t, err, net.ErrClosed)
				}
				require.NoError(t, g.Open(t.Context()))
				f, err := g.File()
				require.NoError(t, err)
				inherited, err := net.FileListener(f)
				require.NoError(t, err)
				require.NoError(t, f.Close())
				successor := listener.NewGate(inherited)
				defer successor.Close()
				require.NoError(t, successor.Open(t.Context()))
				addr := reachable(t, g.Addr())

				waiting := dial(t, addr)
				require.NoError(t, g.Shut())
				_, err = waiting.Write([]byte("x"))
				require.NoError(t, err)
				_, err = accept(t, successor).Read(make([]byte, 1))
				require.NoError(t, err)
				serves(t, successor, addr)
				require.NoError(t, g.Close())
				serves(t, successor, addr)
				_, err = g.File()
				require.ErrorIs(t, err, net.ErrClosed)
			})
		}
	}
}

// After File the name of a Unix socket is the successor's.
func TestFileOfASocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	g := reserve(t, "unix", path)
	require.NoError(t, g.Open(t.Context()))
	f, err := g.File()
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, g.Shut())
	require.Error(t, g.Open(t.Context()))
	require.NoError(t, os.Rename(path, path+".other")) // also if the successor has moved
	require.Error(t, g.Open(t.Context()))
	require.NoError(t, os.Rename(path+".other", path))
	require.NoError(t, g.Close())
	_, err = os.Stat(path)
	require.NoError(t, err)

	_, err = listener.NewGate(listenertest.New()).File()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// What is accepted ends when its client vanishes.
func TestVanishedClientsHaveATimeOut(t *testing.T) {
	needsKernel(t)
	const idle, interval, count, userTimeout = 4, 5, 6, 18 // TCP_KEEPIDLE and so on, include/uapi/linux/tcp.h
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	two, err := listener.ListenTwoPhase(t.Context(), "tcp", "127.0.0.1:0", "127.0.0.1:0", listener.Limits{})
	require.NoError(t, err)
	defer two.Close()
	for name, l := range map[string]net.Listener{
		"private":   two.Private,
		"reserved":  reserve(t, "tcp", "127.0.0.1:0"),
		"throttled": listener.Throttle(plain, listener.Limits{MaxConns: 5}),
	} {
		t.Run(name, func(t *testing.T) {
			defer l.Close()
			if g, ok := l.(*listener.Gate); ok {
				require.NoError(t, g.Open(t.Context()))
				l = listener.Throttle(g, listener.Limits{MaxPending: 5})
			}
			dial(t, l.Addr())
			get := options(t, accept(t, l))
			require.Equal(t, 15, get(idle))
			if name != "private" { // which is not throttled, and may be a socket of MPTCP
				require.Equal(t, 30_000, get(userTimeout))
			}
			if name != "throttled" {
				require.Equal(t, 5, get(interval))
				require.Equal(t, 3, get(count))
			}
		})
	}

	// What the caller has chosen stays.
	var c listener.Config
	c.ListenConfig.KeepAlive = -1
	g, err := c.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer g.Close()
	require.NoError(t, g.Open(t.Context()))
	dial(t, g.Addr())
	require.Zero(t, options(t, accept(t, g))(userTimeout))
}

func options(t *testing.T, c net.Conn) func(name int) int {
	return func(name int) (v int) {
		rc, err := c.(syscall.Conn).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, rc.Control(func(fd uintptr) { v, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, name) }))
		require.NoError(t, err)
		return v
	}
}

// A predecessor that has passed its Unix socket on drains, or ends by MaxAge, what it has
// accepted, and nothing else: the file and the clients that come are the successor's.
func TestDrainAfterFile(t *testing.T) {
	for name, park := range map[string]bool{"refuses": false, "parks": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			g, err := listener.Config{Park: park}.Reserve(t.Context(), "unix", path)
			require.NoError(t, err)
			require.NoError(t, g.Open(t.Context()))
			l := listener.Throttle(g, listener.Limits{MaxConns: 9})
			clients := []net.Conn{dial(t, l.Addr()), dial(t, l.Addr())}
			accept(t, l)
			accept(t, l)
			got := acceptLater(l)
			f, err := g.File()
			require.NoError(t, err)
			inherited, err := net.FileListener(f)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			successor := listener.NewGate(inherited)
			defer successor.Close()
			require.NoError(t, successor.Open(t.Context()))

			l.SetLimits(listener.Limits{MaxAge: time.Nanosecond, AgeGrace: time.Nanosecond})
			for _, c := range clients {
				_, err := c.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
			}
			l.SetLimits(listener.Limits{MaxConns: 9})
			require.NoError(t, l.Drain(t.Context(), 1000, nil))
			serves(t, successor, g.Addr())
			require.NoError(t, l.Close())
			require.ErrorIs(t, (<-got).err, net.ErrClosed)
			serves(t, successor, g.Addr())
			require.FileExists(t, path)
		})
	}
}

// Drain gives a queue that another process has as well back as it was, like Close.
func TestDrainGivesTheQueueBack(t *testing.T) {
	needsKernel(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	other := duplicate(t, l)
	defer other.Close()
	before := queueOf(t, other)
	throttled := listener.Throttle(l, listener.Limits{Rate: 100})
	defer throttled.Close()
	require.Equal(t, 50, queueOf(t, other))
	require.NoError(t, throttled.Drain(t.Context(), 1, nil))
	require.Equal(t, before, queueOf(t, other))
}
