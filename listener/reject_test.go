package listener_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

func TestResetTurnsTheExcessAway(t *testing.T) {
	for reason, lim := range map[listener.Reason]listener.Limits{
		listener.OverPending: {MaxPending: 2},
		listener.OverConns:   {MaxConns: 2},
		listener.OverRate:    {Rate: 20},
	} {
		lim.Overflow = listener.Reset
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			var clients []net.Conn
			for range 5 {
				clients = append(clients, connect(t, inner))
			}
			accept(t, l)
			accept(t, l)
			got := acceptLater(l)
			pending(t, got)
			for _, c := range clients[2:] {
				isReset(t, c)
			}
			s := l.Stats()
			require.Equal(t, uint64(3), s.Rejected[reason], reason)
			require.Len(t, s.Rejected, 5)
			require.NoError(t, l.Close())
			require.ErrorIs(t, (<-got).err, net.ErrClosed)
		})
	}
}

func TestRejectSaysGoodbye(t *testing.T) {
	lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, why listener.Reason) {
		fmt.Fprintf(c, "sorry: %v", why)
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		late := connect(t, inner)
		got := acceptLater(l)
		_, err := late.Write(make([]byte, 1<<20)) // unread by the hook, and more than fits in between
		require.NoError(t, err)
		answer, err := io.ReadAll(late)
		require.NoError(t, err)
		require.Equal(t, "sorry: conns", string(answer))
		require.NoError(t, l.Close())
		<-got
	})
}

// A hook that never ends by itself is ended by its deadline; while 64 run, further
// connections are reset, and Accept goes on.
func TestRejectIsBoundedAndOffTheAcceptPath(t *testing.T) {
	lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, _ listener.Reason) {
		_, _ = io.Copy(io.Discard, c)
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		first := accept(t, l)
		var clients []net.Conn
		for range 64 {
			clients = append(clients, connect(t, inner))
		}
		got := acceptLater(l)
		pending(t, got)
		start := time.Now()
		isReset(t, connect(t, inner)) // the 65th
		require.Zero(t, time.Since(start))
		require.NoError(t, first.Close())
		connect(t, inner)
		require.NoError(t, (<-got).err)
		require.Zero(t, time.Since(start))

		for _, c := range clients {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		require.InDelta(t, 10*time.Second, time.Since(start), float64(time.Second))
		time.Sleep(2 * time.Second) // until nobody waits for a client to read
		late := connect(t, inner)   // there is room for goodbyes again
		got = acceptLater(l)
		pending(t, got)
		start = time.Now()
		_, err := late.Write([]byte("x"))
		require.NoError(t, err) // not reset: the hook reads it
		require.NoError(t, l.Close())
		isReset(t, late) // cut by Close
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
	})
}

// A hook that hangs on something else than the connection, or that takes the
// deadline away, does not keep the client.
func TestGoodbyeEndsWithoutItsHook(t *testing.T) {
	over := make(chan struct{})
	hooks := map[string]func(net.Conn){
		"hangs": func(net.Conn) { <-over },
		"no deadline": func(c net.Conn) {
			_ = c.SetDeadline(time.Time{})
			_, _ = io.Copy(io.Discard, c)
		},
		"exits": func(net.Conn) { runtime.Goexit() },
	}
	for name, hook := range hooks {
		lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, _ listener.Reason) { hook(c) }}
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			over = make(chan struct{})
			connect(t, inner)
			accept(t, l)
			got := acceptLater(l)
			start := time.Now()
			client := connect(t, inner)
			_, err := client.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF, name)
			require.LessOrEqual(t, time.Since(start), 10*time.Second, name)
			close(over)
			require.NoError(t, l.Close())
			<-got
		})
	}
}

// The hook's reads and writes end before the connection does, so that it can still
// say something.
func TestGoodbyeHasADeadline(t *testing.T) {
	heard := make(chan error)
	lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, _ listener.Reason) {
		_, err := c.Read(make([]byte, 1))
		heard <- err
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		heard = make(chan error, 1)
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		start := time.Now()
		connect(t, inner)
		require.ErrorIs(t, <-heard, os.ErrDeadlineExceeded)
		require.Equal(t, 9*time.Second, time.Since(start))
		require.NoError(t, l.Close())
		<-got
	})
}

// A client that neither reads nor leaves has a second after the hook.
func TestGoodbyeDoesNotLingerForLong(t *testing.T) {
	lim := listener.Limits{MaxConns: 1, Overflow: listener.Reset, Reject: func(c net.Conn, _ listener.Reason) {
		_, _ = c.Write([]byte("bye"))
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		accept(t, l)
		got := acceptLater(l)
		client := connect(t, inner)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		_, err := client.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.NoError(t, l.Close())
		<-got
	})
}
