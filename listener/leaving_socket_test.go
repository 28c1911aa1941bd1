package listener_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// The documented way for handlers of streams on sockets: a limit that counts, and is
// never reached. Without one nobody tells them, and Drain ends with its ctx.
func TestLeavingOfSockets(t *testing.T) {
	open := func(lim listener.Limits) (*listener.Throttled, net.Conn) {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l := listener.Throttle(inner, lim)
		t.Cleanup(func() { _ = l.Close() })
		client, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = client.Close() })
		c, err := l.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return l, c
	}
	told := errors.New("the stream was not told")
	_, c := open(listener.Limits{})
	require.Nil(t, listener.Leaving(listener.ConnContext(t.Context(), c)))

	l, c := open(listener.Limits{MaxConns: 1 << 30})
	leaving := listener.Leaving(listener.ConnContext(t.Context(), c))
	require.NotNil(t, leaving)
	go func() {
		<-leaving
		_ = c.Close()
	}()
	require.NoError(t, l.Drain(t.Context(), 1000, func(net.Conn) {}))

	l, c = open(listener.Limits{})
	ctx, cancel := context.WithCancelCause(t.Context())
	err := l.Drain(ctx, 1000, func(net.Conn) { cancel(told) })
	require.ErrorIs(t, err, told)
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed, "closed with ctx")
}
