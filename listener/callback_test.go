package listener_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// use is what a callback may do with the Throttled that calls it.
func use(l *listener.Throttled) {
	_ = l.Stats()
	l.SetLimits(l.Limits())
	_ = l.State()
	l.AdmitAddr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 7})
}

// Callbacks run outside of locks: each may use the Throttled, and close it.
func TestCallbacksCallBack(t *testing.T) {
	var l *listener.Throttled
	called := make(chan struct{}, 9)
	back := func() {
		use(l)
		_ = l.Close()
		called <- struct{}{}
	}
	full := listener.Limits{MaxConns: 1, Overflow: listener.Reset}
	for name, lim := range map[string]listener.Limits{
		"Exempt": {MaxConns: 1, Exempt: func(net.Addr) bool { back(); return false }},
		"Reject": {MaxConns: 1, Overflow: full.Overflow, Reject: func(net.Conn, listener.Reason) { back() }},
		"End":    {MaxConns: 1, MaxAge: time.Second, End: func(net.Conn) { back() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				called = make(chan struct{}, 9)
				inner := listenertest.New()
				l = listener.Throttle(inner, lim)
				connect(t, inner)
				connect(t, inner)
				served := make(chan error, 1)
				go func() {
					for {
						if _, err := l.Accept(); err != nil {
							served <- err
							return
						}
					}
				}()
				<-called
				require.ErrorIs(t, <-served, net.ErrClosed)
				time.Sleep(time.Minute) // timers
			})
		})
	}
	t.Run("share", func(t *testing.T) {
		throttled(t, full, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			connect(t, inner)
			accept(t, l)
			ctx, cancel := context.WithCancel(t.Context())
			err := l.Rebalance(ctx, 1, func() int {
				use(l)
				cancel()
				return 0
			}, func(c net.Conn) {
				use(l)
				_ = c.Close()
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, l.Stats().Open)
		})
	})
	t.Run("OnDead", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := listener.Merge(&scripted{Listener: listenertest.New(), errs: []error{errors.New("gone")}}, listenertest.New())
			m.OnDead = func(net.Listener, error) { _ = m.Close() }
			_, err := m.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		})
	})
}
