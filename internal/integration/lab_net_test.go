//go:build linux

package integration_test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// silence is how long a test listens before it believes that nothing comes.
const silence = 400 * time.Millisecond

// echo is a server that sends back what it gets.
type echo struct {
	t     *testing.T
	l     net.Listener
	conns chan net.Conn
	done  chan struct{}
}

func newEcho(t *testing.T, addr string) *echo {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	e := &echo{t: t, l: l, conns: make(chan net.Conn, 100), done: make(chan struct{})}
	go func() {
		defer close(e.done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			e.conns <- conn
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	t.Cleanup(e.crash)
	return e
}

func (e *echo) addr() string { return e.l.Addr().String() }

// crash ends the server and its connections with a reset, as a power failure would
// without even that if nobody can hear it.
func (e *echo) crash() {
	_ = e.l.Close()
	<-e.done
	for {
		select {
		case conn := <-e.conns:
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		default:
			return
		}
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 20*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, ask(conn, 20*time.Second))
	return conn
}

// ask sends a byte and waits for it to come back.
func ask(conn net.Conn, wait time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func requireSilent(t *testing.T, conn net.Conn) {
	t.Helper()
	require.ErrorIs(t, ask(conn, silence), os.ErrDeadlineExceeded)
}

// What exists falls silent, what is new works, the other host is left alone, and what
// was sent meanwhile arrives once packets do.
func TestLabVanish(t *testing.T) {
	inLab(t, func(l *lab) {
		one, other := newEcho(t, "127.0.0.1:7001"), newEcho(t, "127.0.0.2:7001")
		old, elsewhere := dial(t, one.addr()), dial(t, other.addr())
		l.vanish(one.addr())
		requireSilent(t, old)
		require.NoError(t, ask(elsewhere, time.Second))
		second := dial(t, one.addr())

		l.vanish(one.addr())
		requireSilent(t, second)
		third := dial(t, one.addr())
		l.heal()
		require.NoError(t, old.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err := io.ReadFull(old, make([]byte, 1))
		require.NoError(t, err, "late, and not lost")
		require.NoError(t, ask(third, time.Second))
	})
}

func TestLabBlackhole(t *testing.T) {
	inLab(t, func(l *lab) {
		one, other := newEcho(t, "127.0.0.1:7001"), newEcho(t, "127.0.0.2:7001")
		old := dial(t, one.addr())
		l.blackhole(one.addr())
		requireSilent(t, old)
		_, err := net.DialTimeout("tcp", one.addr(), silence)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		dial(t, other.addr())
	})
}

// A host that comes back, and remembers nothing.
func TestLabComesBack(t *testing.T) {
	inLab(t, func(l *lab) {
		one := newEcho(t, "127.0.0.1:7001")
		old := dial(t, one.addr())
		l.blackhole(one.addr())
		one.crash()
		requireSilent(t, old)
		l.heal()
		newEcho(t, "127.0.0.1:7001")
		require.ErrorIs(t, ask(old, 10*time.Second), syscall.ECONNRESET)
		dial(t, one.addr())
	})
}

func TestLabForgetIdle(t *testing.T) {
	inLab(t, func(l *lab) {
		one := newEcho(t, "127.0.0.1:7001")
		l.forgetIdle(one.addr(), 700*time.Millisecond)
		busy, idle := dial(t, one.addr()), dial(t, one.addr())
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range 12 {
			<-tick.C
			require.NoError(t, ask(busy, silence))
		}
		requireSilent(t, idle)
		require.NoError(t, ask(busy, silence))
		dial(t, one.addr())
	})
}

func TestLabLose(t *testing.T) {
	inLab(t, func(l *lab) {
		one := newEcho(t, "127.0.0.1:7001")
		l.lose(one.addr(), 20)
		conn := dial(t, one.addr())
		late := 0
		for range 20 {
			from := time.Now()
			require.NoError(t, ask(conn, 20*time.Second))
			if time.Since(from) > 150*time.Millisecond {
				late++
			}
		}
		require.Positive(t, late, "the kernel sends again after 200ms at the earliest")
		l.heal()
		require.NoError(t, ask(conn, 20*time.Second))
	})
}
