package listener_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

func TestSocketFileKeepsItsModeAndGoesAtClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	g := reserve(t, "unix", path)
	require.NoError(t, os.Chmod(path, 0o620))
	for range 2 {
		require.NoError(t, g.Open(t.Context()))
		require.NoError(t, g.Shut())
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o620), info.Mode().Perm())
	}
	require.NoError(t, g.Close())
	require.NoFileExists(t, path)
}

// Another process that has put its socket in our place, as in a handover, keeps it.
func TestSocketFileOfAnotherIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	g := reserve(t, "unix", path)
	require.NoError(t, g.Open(t.Context()))
	require.NoError(t, os.Remove(path))
	successor, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer successor.Close()

	require.ErrorIs(t, g.Shut(), syscall.EADDRINUSE)
	require.Equal(t, listener.Closed, g.State())
	require.ErrorIs(t, g.Open(t.Context()), syscall.EADDRINUSE)
	require.NoError(t, g.Close())
	serves(t, successor, successor.Addr())
}

// A name that was lost for a while does not come back with a mode of its own.
func TestSocketFileKeepsItsModeOverALoss(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	g := reserve(t, "unix", path)
	require.NoError(t, os.Chmod(path, 0o620))
	require.NoError(t, g.Open(t.Context()))
	require.NoError(t, g.Shut())
	require.NoError(t, g.Open(t.Context()))
	require.NoError(t, os.Remove(path))
	thief, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.ErrorIs(t, g.Shut(), syscall.EADDRINUSE)
	require.NoError(t, thief.Close())
	require.NoError(t, g.Open(t.Context()))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o620), info.Mode().Perm())
}

func TestCorpsesOnSockets(t *testing.T) {
	for name, a := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			g := reserve(t, a[0], a[1])
			require.NoError(t, g.Open(t.Context()))
			l := listener.Throttle(g, listener.Limits{MaxPending: 1})
			addr := reachable(t, g.Addr())
			for range 20 {
				require.NoError(t, dial(t, addr).Close())
			}
			if strings.HasPrefix(a[0], "tcp") {
				c := dial(t, addr).(*net.TCPConn)
				require.NoError(t, c.SetLinger(0))
				require.NoError(t, c.Close()) // a reset one
			}
			asked := dial(t, addr)
			_, err := asked.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
			require.NoError(t, err)
			require.NoError(t, asked.Close())
			alive := dial(t, addr)
			_, err = alive.Write([]byte("x"))
			require.NoError(t, err)
			c := accept(t, l)
			_, err = c.Read(make([]byte, 1))
			require.NoError(t, err)
			require.GreaterOrEqual(t, l.Stats().Corpses, uint64(21))
			require.Equal(t, uint64(1), l.Stats().Accepted)
		})
	}
}

func TestHalfCloseOnSockets(t *testing.T) {
	for _, half := range []bool{false, true} {
		g := reserve(t, "tcp", "127.0.0.1:0")
		require.NoError(t, g.Open(t.Context()))
		l := listener.Throttle(g, listener.Limits{MaxPending: 1, HalfClose: half})
		first := dial(t, g.Addr()).(*net.TCPConn)
		require.NoError(t, first.CloseWrite())
		second := dial(t, g.Addr())
		want := map[bool]net.Conn{false: second, true: first}[half]
		require.Equal(t, want.LocalAddr().String(), accept(t, l).RemoteAddr().String())
	}

	// A client of a Unix socket that has left has ended both directions.
	g := reserve(t, "unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, g.Open(t.Context()))
	l := listener.Throttle(g, listener.Limits{MaxPending: 1, HalfClose: true})
	require.NoError(t, dial(t, g.Addr()).Close())
	first := dial(t, g.Addr()).(*net.UnixConn)
	_, err := first.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, first.CloseWrite())
	_, err = accept(t, l).Read(make([]byte, 1))
	require.NoError(t, err)
	require.Equal(t, uint64(1), l.Stats().Corpses)
}

// capture remembers the sockets that a ListenConfig makes.
type capture struct{ conns []syscall.RawConn }

func (c *capture) control(_, _ string, rc syscall.RawConn) error {
	c.conns = append(c.conns, rc)
	return nil
}

// backlog is the length of the queue of the last socket, as the kernel has it:
// tcpi_sacked of a listening socket.
func (c *capture) backlog(t *testing.T) uint32 {
	t.Helper()
	var info *syscall.IPv6MTUInfo // of the size of the part of tcp_info that ends with tcpi_sacked
	var err error
	require.NoError(t, c.conns[len(c.conns)-1].Control(func(fd uintptr) {
		info, err = syscall.GetsockoptIPv6MTUInfo(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	}))
	require.NoError(t, err)
	return info.Mtu
}

func TestQueueOfSocketsIsSized(t *testing.T) {
	needsKernel(t)
	for _, park := range []bool{false, true} {
		for _, mptcp := range []bool{false, true} {
			t.Run(fmt.Sprintf("park=%v,mptcp=%v", park, mptcp), func(t *testing.T) {
				var made capture
				c := listener.Config{Park: park}
				c.ListenConfig.Control = made.control
				c.ListenConfig.SetMultipathTCP(mptcp)
				g, err := c.Reserve(t.Context(), "tcp", "127.0.0.1:0")
				require.NoError(t, err)
				l := listener.Throttle(g, listener.Limits{MaxPending: 5})
				defer l.Close()
				require.NoError(t, g.Open(t.Context()))
				full := made.backlog(t)
				require.Greater(t, full, uint32(75))
				l.SetLimits(listener.Limits{Rate: 150})
				require.Equal(t, uint32(75), made.backlog(t))
				require.NoError(t, g.Shut())
				if park {
					require.Equal(t, full, made.backlog(t))
				}
				require.NoError(t, g.Open(t.Context()))
				require.Equal(t, uint32(75), made.backlog(t))
				l.SetLimits(listener.Limits{})
				require.Equal(t, full, made.backlog(t))
			})
		}
	}
}

func TestConnectionsAreRawUnlessCounted(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	l := listener.Throttle(g, listener.Limits{Rate: 1e6})
	m := listener.Merge(l)
	dial(t, g.Addr())
	require.IsType(t, (*net.TCPConn)(nil), accept(t, m))
	require.NoError(t, m.Close())
}

// What net/http and others look for in a connection is still there.
func TestWrappersKeepWhatTheyWrap(t *testing.T) {
	type wrapper interface {
		io.ReaderFrom
		io.WriterTo
		syscall.Conn
		CloseWrite() error
		CloseRead() error
		SetKeepAlive(keepalive bool) error
		SetLinger(sec int) error
		NetConn() net.Conn
	}
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	l := listener.Throttle(g, listener.Limits{MaxPending: 1})
	client := dial(t, g.Addr())
	c := accept(t, l)
	w, ok := c.(wrapper)
	require.True(t, ok)
	require.IsType(t, (*net.TCPConn)(nil), w.NetConn())
	_, err := w.ReadFrom(strings.NewReader("hello"))
	require.NoError(t, err)
	require.NoError(t, w.CloseWrite())
	got, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))

	u := reserve(t, "unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, u.Open(t.Context()))
	lu := listener.Throttle(u, listener.Limits{MaxPending: 1})
	dial(t, u.Addr())
	cu := accept(t, lu)
	require.Implements(t, (*interface {
		syscall.Conn
		CloseWrite() error
		File() (*os.File, error)
		NetConn() net.Conn
	})(nil), cu)
	require.True(t, listener.Admit(cu))
	require.NoError(t, cu.Close())
	require.Zero(t, lu.Stats().Open)
}

// Many clients, many Accepts, limits that change and a gate that opens and shuts:
// each connection is served or reset, and all is zero at the end.
func TestEverythingAtOnce(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	l := listener.Throttle(g, listener.Limits{MaxPending: 4})
	private, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := listener.Merge(private, l)
	var serving, clients sync.WaitGroup
	for range 3 {
		serving.Go(func() {
			for {
				c, err := m.Accept()
				if err != nil {
					require.ErrorIs(t, err, net.ErrClosed)
					return
				}
				serving.Go(func() {
					_, _ = io.Copy(c, c)
					listener.Admit(c)
					_ = c.Close()
				})
			}
		})
	}
	for i := range 8 {
		addr := g.Addr()
		if i == 0 {
			addr = private.Addr()
		}
		clients.Go(func() {
			for range 100 {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					require.NotZero(t, i) // never the private port
					if !errors.Is(err, syscall.ECONNRESET) {
						require.ErrorIs(t, err, syscall.ECONNREFUSED)
					}
					continue
				}
				_, err = c.Write([]byte("x"))
				if err == nil {
					_ = c.SetReadDeadline(time.Now().Add(time.Minute))
					_, err = io.ReadFull(c, make([]byte, 1))
				}
				if i == 0 {
					require.NoError(t, err)
				}
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				_ = c.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			require.NoError(t, m.Close())
			serving.Wait()
			require.Zero(t, l.Stats().Open)
			require.Zero(t, l.Stats().Pending)
			return
		default:
			require.NoError(t, g.Open(t.Context()))
			runtime.Gosched()
			l.SetLimits(listener.Limits{MaxPending: 1 + i%4, MaxConns: 1 + i%7, Rate: 1e5, Overflow: listener.Overflow(i % 2)})
			require.NoError(t, g.Shut())
		}
	}
}
