package listener_test

import (
	"bytes"
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

// Clients connect to a parked gate before it opens, and none is lost.
func TestParkOnSockets(t *testing.T) {
	for name, a := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			g, err := listener.Config{Park: true}.Reserve(t.Context(), a[0], a[1])
			require.NoError(t, err)
			defer g.Close()
			l := listener.Throttle(g, listener.Limits{MaxPending: 1000})
			got := acceptLater(l)
			addr := reachable(t, g.Addr())
			for range 100 {
				dial(t, addr)
			}
			require.Empty(t, got)
			require.NoError(t, g.Open(t.Context()))
			require.NoError(t, (<-got).err)
			for range 99 {
				accept(t, l)
			}
			got = acceptLater(l)
			require.NoError(t, g.Shut())
			dial(t, addr)
			require.Empty(t, got)
			require.NoError(t, g.Open(t.Context()))
			a := <-got
			require.NoError(t, a.err)
			require.NoError(t, a.Close())
			require.Zero(t, g.Stats().Reset)
			require.Zero(t, g.Stats().AcceptErrors)
		})
	}
}

func TestShutResetsTheQueueOfARefusingGate(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	client := dial(t, g.Addr())
	require.NoError(t, g.Shut())
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// handover returns a connection from Accept when it is told to.
type handover struct {
	net.Listener
	accepted, pass chan struct{}
}

func (h *handover) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err == nil {
		h.accepted <- struct{}{}
		<-h.pass
	}
	return c, err
}

func TestWhatIsInHandAtShutIsKeptByAParkedGate(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &handover{inner, make(chan struct{}, 1), make(chan struct{}, 1)}
	g := listener.NewGate(h)
	require.NoError(t, g.Open(t.Context()))
	got := acceptLater(g)
	client := dial(t, g.Addr())
	<-h.accepted
	require.NoError(t, g.Shut())
	h.pass <- struct{}{}
	require.NoError(t, g.Open(t.Context()))
	a := <-got
	require.NoError(t, a.err)
	require.Equal(t, client.LocalAddr().String(), a.RemoteAddr().String())
	require.NoError(t, a.Close())
	require.NoError(t, g.Close())
}

func TestWhatIsInHandAtCloseIsReset(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &handover{inner, make(chan struct{}, 1), make(chan struct{}, 1)}
	g := listener.NewGate(h)
	require.NoError(t, g.Open(t.Context()))
	got := acceptLater(g)
	client := dial(t, g.Addr())
	<-h.accepted
	require.NoError(t, g.Close())
	h.pass <- struct{}{}
	require.ErrorIs(t, (<-got).err, net.ErrClosed)
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Equal(t, listener.GateStats{Openings: 1, Reset: 1}, g.Stats())
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

// timeWaits counts the TIME_WAIT sockets on our side of a port.
func timeWaits(t *testing.T, port int) int {
	t.Helper()
	found := make(map[string]bool) // by both addresses: one that moves while the table is read is there twice
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		for line := range bytes.Lines(table) {
			f := strings.Fields(string(line))
			if len(f) > 3 && f[3] == "06" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				found[f[1]+" "+f[2]] = true
			}
		}
	}
	return len(found)
}

func TestRejectsLeaveNoTimeWait(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	l := listener.Throttle(g, listener.Limits{MaxConns: 1, Overflow: listener.Reset})
	port := g.Addr().(*net.TCPAddr).Port
	before := timeWaits(t, port) // of whoever had the port before
	client := dial(t, g.Addr())
	first := accept(t, l)
	got := acceptLater(l)
	for range 200 {
		c, err := net.Dial("tcp", g.Addr().String())
		if err == nil { // or the reset was there before connect had returned
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	require.LessOrEqual(t, timeWaits(t, port), before)
	require.Equal(t, uint64(200), l.Stats().Rejected[listener.OverConns])

	require.NoError(t, first.Close()) // the table does show what there is
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, client.Close())
	require.LessOrEqual(t, timeWaits(t, port), before+1)
	require.NotZero(t, timeWaits(t, port))
	require.NoError(t, l.Close())
	<-got
}

// A goodbye arrives although the client has sent what nobody reads.
func TestGoodbyeArrives(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Open(t.Context()))
	l := listener.Throttle(g, listener.Limits{
		MaxConns: 1, Overflow: listener.Reset,
		Reject: func(c net.Conn, _ listener.Reason) { _, _ = io.WriteString(c, "HTTP/1.1 503 Full\r\n\r\n") },
	})
	dial(t, g.Addr())
	accept(t, l)
	got := acceptLater(l)
	for range 50 {
		c := dial(t, g.Addr())
		_, _ = c.Write(make([]byte, 1000))
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Contains(t, string(answer), "503 Full")
		_ = c.Close()
	}
	require.NoError(t, l.Close())
	<-got
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
