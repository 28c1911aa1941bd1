package listener_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

func reserve(t *testing.T, network, address string) *listener.Gate {
	t.Helper()
	g, err := listener.Reserve(t.Context(), network, address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}

func refuses(t *testing.T, addr net.Addr) {
	t.Helper()
	_, err := net.DialTimeout(addr.Network(), addr.String(), 10*time.Second)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// addresses are one of each kind; IPv6 only where there is.
func addresses(t *testing.T) map[string][2]string {
	t.Helper()
	all := map[string][2]string{
		"tcp":           {"tcp", "127.0.0.1:0"},
		"tcp4 any":      {"tcp4", ":0"},
		"tcp any":       {"tcp", ":0"},
		"tcp 0.0.0.0":   {"tcp", "0.0.0.0:0"},
		"tcp localhost": {"tcp", "localhost:0"},
		"unix":          {"unix", filepath.Join(t.TempDir(), "s")},
		"abstract":      {"unix", fmt.Sprintf("@connhygiene-%d-%s", os.Getpid(), t.Name())},
		"unixpacket":    {"unixpacket", filepath.Join(t.TempDir(), "p")},
	}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		require.NoError(t, l.Close())
		all["tcp6"] = [2]string{"tcp6", "[::1]:0"}
		all["tcp6 any"] = [2]string{"tcp6", ":0"}
	}
	return all
}

// reachable is addr with a host that can be dialed.
func reachable(t *testing.T, addr net.Addr) net.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr
	}
	if strings.Contains(t.Name(), "tcp6") {
		return &net.TCPAddr{IP: net.IPv6loopback, Port: tcp.Port}
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}
}

func TestReserveIsFinalAndReopens(t *testing.T) {
	for name, a := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			g := reserve(t, a[0], a[1])
			addr := g.Addr()
			to := reachable(t, addr)
			require.Equal(t, listener.Closed, g.State())
			for range 3 {
				refuses(t, to)
				require.NoError(t, g.Open(t.Context()))
				require.NoError(t, g.Open(t.Context()))
				require.Equal(t, listener.Opened, g.State())
				serves(t, g, to)
				require.Equal(t, addr, g.Addr())
				require.NoError(t, g.Shut())
				require.NoError(t, g.Shut())
			}
			refuses(t, to)
			require.Equal(t, uint64(3), g.Stats().Openings)
			require.Equal(t, uint64(3), g.Stats().Accepted)
		})
	}
}

// A client that is refused knows at once: the quickest of many, since the machine
// may have other things to do.
func TestRefusesAtOnce(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	quickest := time.Hour
	for range 50 {
		start := time.Now()
		refuses(t, g.Addr())
		quickest = min(quickest, time.Since(start))
	}
	t.Log(quickest)
	require.Less(t, quickest, 5*time.Millisecond)
}

// What net listens to for ":0" the gate listens to as well: both families, if
// the machine has both.
func TestReserveChoosesTheFamilyThatNetChooses(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "127.0.0.1:0", "localhost:0"} {
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		g := reserve(t, "tcp", address)
		want, got := l.Addr().(*net.TCPAddr), g.Addr().(*net.TCPAddr)
		require.Equal(t, want.IP, got.IP, address)
		require.NoError(t, g.Open(t.Context()))
		for _, host := range []string{"127.0.0.1", "::1"} {
			reaches := func(port int) bool {
				c, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.ParseIP(host), Port: port})
				if err == nil {
					_ = c.Close()
				}
				return err == nil
			}
			require.Equal(t, reaches(want.Port), reaches(got.Port), "%s %s", address, host)
		}
		require.NoError(t, l.Close())
	}
}

func TestReservedPortCannotBeTaken(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	taken := func() {
		t.Helper()
		_, err := net.Listen("tcp", g.Addr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		d := net.Dialer{LocalAddr: g.Addr()}
		_, err = d.Dial("tcp", g.Addr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
	for range 2 {
		taken()
		require.NoError(t, g.Open(t.Context()))
		taken()
		serves(t, g, g.Addr())
		require.NoError(t, g.Shut())
	}
	taken()
}

func TestReserveOfTakenAddress(t *testing.T) {
	for name, a := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			g := reserve(t, a[0], a[1])
			again := func() {
				t.Helper()
				_, err := listener.Reserve(t.Context(), a[0], g.Addr().String())
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				if tcp, ok := g.Addr().(*net.TCPAddr); ok { // net writes [::] as 0.0.0.0
					require.ErrorContains(t, err, strconv.Itoa(tcp.Port))
				} else {
					require.ErrorContains(t, err, g.Addr().String())
				}
			}
			again()
			require.NoError(t, g.Open(t.Context()))
			again()
			require.NoError(t, g.Shut())
			again()
		})
	}
}

func TestReserveOfBadAddress(t *testing.T) {
	for _, a := range [][2]string{
		{"tpc", "127.0.0.1:0"},
		{"udp", "127.0.0.1:0"},
		{"", ""},
		{"tcp", "127.0.0.1"},
		{"tcp", "127.0.0.1:99999"},
		{"unix", "/no/such/directory/s"},
		{"tcp4", "[::1]:0"},
		{"unixgram", "/tmp/x"},
	} {
		_, err := listener.Reserve(t.Context(), a[0], a[1])
		require.Error(t, err, a)
		require.ErrorContains(t, err, a[0])
	}
	_, err := listener.Reserve(t.Context(), "udp", "127.0.0.1:17070")
	require.EqualError(t, err, "listen udp 127.0.0.1:17070: unknown network udp")
	var unknown net.UnknownNetworkError
	require.ErrorAs(t, err, &unknown)
}

func TestReserveLooksAtItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, park := range []bool{false, true} {
		_, err := listener.Config{Park: park}.Reserve(ctx, "tcp", "127.0.0.1:0")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "tcp 127.0.0.1:0")
	}
	before := descriptors(t)
	_, err := listener.ListenTwoPhase(ctx, "tcp", "127.0.0.1:0", "localhost:0", listener.Limits{})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, descriptors(t))
}

func TestReserveTakesControl(t *testing.T) {
	var calls []string
	c := listener.Config{}
	c.ListenConfig.Control = func(network, _ string, _ syscall.RawConn) error {
		calls = append(calls, network)
		return nil
	}
	g, err := c.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer g.Close()
	require.NoError(t, g.Open(t.Context()))
	require.GreaterOrEqual(t, len(calls), 2)
	require.Equal(t, "tcp4", calls[0])

	errNo := errors.New("no")
	c.ListenConfig.Control = func(string, string, syscall.RawConn) error { return errNo }
	_, err = c.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, errNo)
}

func TestCloseLeavesNothing(t *testing.T) {
	for name, a := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			before := descriptors(t)
			for _, open := range []bool{false, true} {
				g, err := listener.Reserve(t.Context(), a[0], a[1])
				require.NoError(t, err)
				if open {
					require.NoError(t, g.Open(t.Context()))
					require.NoError(t, g.Shut())
					require.NoError(t, g.Open(t.Context()))
				}
				require.NoError(t, g.Close())
				require.NoError(t, g.Close())
				if a[1][0] == '/' {
					require.NoFileExists(t, a[1])
				}
			}
			require.LessOrEqual(t, descriptors(t), before)
		})
	}
}

func TestFailedReserveLeavesNothing(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	before := descriptors(t)
	for range 10 {
		_, err := listener.Reserve(t.Context(), "tcp", g.Addr().String())
		require.Error(t, err)
		_, err = listener.Reserve(t.Context(), "unix", "/no/such/directory/s")
		require.Error(t, err)
	}
	require.LessOrEqual(t, descriptors(t), before)
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(fds)
}

func TestThousandOpeningsKeepThePort(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	before := descriptors(t)
	var accepts sync.WaitGroup
	accepts.Go(func() {
		for {
			c, err := g.Accept()
			if err != nil {
				require.ErrorIs(t, err, net.ErrClosed)
				return
			}
			_ = c.Close()
		}
	})
	for i := range 1000 {
		require.NoError(t, g.Open(t.Context()))
		if i%10 == 0 {
			c := dial(t, g.Addr())
			_, _ = c.Read(make([]byte, 1)) // until the server has closed: TIME_WAIT is there
			_ = c.Close()
		}
		require.NoError(t, g.Shut())
	}
	refuses(t, g.Addr())
	require.NoError(t, g.Close())
	accepts.Wait()
	require.LessOrEqual(t, descriptors(t), before)
}

func TestOpenAfterClose(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	require.NoError(t, g.Close())
	require.ErrorIs(t, g.Open(t.Context()), net.ErrClosed)
	require.ErrorIs(t, g.Shut(), net.ErrClosed)
	_, err := g.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, listener.Done, g.State())
	require.Equal(t, "done", g.State().String())
}

func TestOpenWithEndedContext(t *testing.T) {
	g := reserve(t, "tcp", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, g.Open(ctx), context.Canceled)
	require.Equal(t, listener.Closed, g.State())
	refuses(t, g.Addr())
	require.NoError(t, g.Open(t.Context()))
}
