package listener_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

const starving = "CONNHYGIENE_STARVING"

// ports is what the starving server prints: where it is, and at the end what
// its public port has counted.
type ports struct {
	Private, Public string
	AcceptErrors    uint64
}

// The server runs out of descriptors in a process of its own, with a limit of 40.
func TestOutOfDescriptors(t *testing.T) {
	if os.Getenv(starving) != "" {
		starve(t)
		return
	}
	needsKernel(t)
	server := exec.Command(os.Args[0], "-test.run=^TestOutOfDescriptors$")
	server.Env = append(os.Environ(), starving+"=1")
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	require.NoError(t, err)
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	output := bufio.NewReader(stdout)
	read := func() (p ports) {
		line, err := output.ReadBytes('\n')
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(line, &p))
		return p
	}
	at := read()

	var flood []net.Conn
	for range 60 {
		c, err := net.Dial("tcp", at.Public)
		require.NoError(t, err)
		flood = append(flood, c)
	}
	require.NoError(t, echo(flood[0], 30*time.Second))
	require.ErrorIs(t, echo(flood[len(flood)-1], 200*time.Millisecond), os.ErrDeadlineExceeded)
	for range 5 {
		c, err := net.Dial("tcp", at.Private)
		require.NoError(t, err)
		require.NoError(t, echo(c, 30*time.Second), "the private port does not answer")
		require.NoError(t, c.Close())
	}
	for _, c := range flood {
		require.NoError(t, c.Close())
	}
	for range 10 {
		c, err := net.Dial("tcp", at.Public)
		require.NoError(t, err)
		require.NoError(t, echo(c, 30*time.Second), "the public port has not recovered")
		require.NoError(t, c.Close())
	}

	require.NoError(t, stdin.Close())
	require.NotZero(t, read().AcceptErrors)
	_, _ = io.Copy(io.Discard, output)
	require.NoError(t, server.Wait())
}

// The descriptor in reserve is held from the first Accept on, and not after Close.
func TestCloseFreesTheReserve(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"gate": func(l net.Listener) net.Listener {
			g := listener.NewGate(l)
			require.NoError(t, g.Open(t.Context()))
			return g
		},
		"throttle": func(l net.Listener) net.Listener { return listener.Throttle(l, listener.Limits{}) },
	} {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		before := reserves(t)
		l := wrap(inner)
		got := acceptLater(l)
		require.Eventually(t, func() bool { return reserves(t) == before+1 }, time.Minute, time.Millisecond, name)
		require.NoError(t, l.Close())
		<-got
		require.Equal(t, before, reserves(t), name)
	}
}

// reserves counts descriptors of the null device.
func reserves(t *testing.T) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == os.DevNull {
			n++
		}
	}
	return n
}

// starve is the server.
func starve(t *testing.T) {
	l, err := listener.ListenTwoPhase(t.Context(), "tcp", "127.0.0.1:0", "127.0.0.1:0", listener.Limits{})
	require.NoError(t, err)
	require.NoError(t, l.Open(t.Context()))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 40, Max: 40}))
	say := func(p ports) { require.NoError(t, json.NewEncoder(os.Stdout).Encode(p)) }
	say(ports{Private: l.Private.Addr().String(), Public: l.Addr().String()})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent has seen enough
		_ = l.Close()
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			require.ErrorIs(t, err, net.ErrClosed)
			break
		}
		go func() {
			// Without splice(2), whose pipes net keeps for later, and the more with -race.
			_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			_ = c.Close()
		}()
	}
	say(ports{AcceptErrors: l.Public.Stats().AcceptErrors})
}
