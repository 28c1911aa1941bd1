package listener_test

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// A wait is one that Accept can be in.
type wait struct {
	name  string
	wrap  func(t *testing.T, inner net.Listener) net.Listener
	first bool // it begins after a first connection
}

func waits() []wait {
	throttle := func(lim listener.Limits) func(*testing.T, net.Listener) net.Listener {
		return func(_ *testing.T, inner net.Listener) net.Listener { return listener.Throttle(inner, lim) }
	}
	gate := func(t *testing.T, inner net.Listener) net.Listener {
		g := listener.NewGate(inner)
		require.NoError(t, g.Open(t.Context()))
		return g
	}
	failing := func(l net.Listener) net.Listener {
		s := &scripted{Listener: l}
		for range 1000 {
			s.errs = append(s.errs, syscall.EMFILE)
		}
		return s
	}
	return []wait{
		{"gate", func(_ *testing.T, inner net.Listener) net.Listener { return listener.NewGate(inner) }, false},
		{"opened", gate, false},
		{"inner", throttle(listener.Limits{}), false},
		{"token", throttle(listener.Limits{Rate: 1e-9}), true},
		{"pending", throttle(listener.Limits{MaxPending: 1, PendingTimeout: -1}), true},
		{"expiry", throttle(listener.Limits{MaxPending: 1, PendingTimeout: time.Hour}), true},
		{"slot", throttle(listener.Limits{MaxConns: 1}), true},
		{"error in gate", func(t *testing.T, inner net.Listener) net.Listener { return gate(t, failing(inner)) }, false},
		{"error in throttle", func(t *testing.T, inner net.Listener) net.Listener {
			return listener.Throttle(failing(inner), listener.Limits{})
		}, false},
		{"error in merge", func(_ *testing.T, inner net.Listener) net.Listener {
			return listener.Merge(listenertest.New(), failing(inner))
		}, false},
		{"error in one leg", func(_ *testing.T, inner net.Listener) net.Listener { return listener.Merge(failing(inner)) }, false},
		{"merge", func(t *testing.T, inner net.Listener) net.Listener {
			return listener.Merge(gate(t, inner), listener.NewGate(listenertest.New()))
		}, false},
		{"all", func(t *testing.T, inner net.Listener) net.Listener {
			return listener.Merge(listenertest.New(), listener.Throttle(gate(t, inner), listener.Limits{MaxPending: 1, MaxConns: 1, Rate: 1}))
		}, true},
	}
}

// entering tells when Accept is called.
type entering struct {
	net.Listener
	entered chan struct{}
}

func (e *entering) Accept() (net.Conn, error) {
	e.entered <- struct{}{}
	return e.Listener.Accept()
}

// shutdown serves l, with a first connection if the wait begins after one, and
// returns how long Shutdown took.
func shutdown(t *testing.T, w wait, l net.Listener, dial, settle func()) time.Duration {
	t.Helper()
	e := &entering{l, make(chan struct{}, 2)}
	srv := &http.Server{}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(e) }()
	<-e.entered
	if w.first {
		dial()
		<-e.entered
	}
	settle()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_ = srv.Shutdown(ctx)
	took := time.Since(start)
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	require.NoError(t, srv.Close())
	require.NoError(t, l.Close())
	return took
}

// http.Server.Shutdown waits for Serve to return before it looks at its context:
// a wait in Accept that Close does not end holds it for ever.
func TestShutdownReturnsWithAcceptInEachWait(t *testing.T) {
	for _, w := range waits() {
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := listenertest.New()
				took := shutdown(t, w, w.wrap(t, inner), func() {
					connect(t, inner)
					connect(t, inner)
				}, synctest.Wait)
				require.LessOrEqual(t, took, 300*time.Millisecond)
			})
		})
	}
}

// The same in the kernel's waits, where a machine may be slow.
func TestShutdownReturnsOnSockets(t *testing.T) {
	all := waits()
	if runtime.GOOS == "linux" {
		all = append(all, wait{name: "refusing", wrap: func(t *testing.T, inner net.Listener) net.Listener {
			require.NoError(t, inner.Close())
			g, err := listener.Reserve(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			return g
		}})
	}
	for _, w := range all {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			took := shutdown(t, w, w.wrap(t, inner), func() { dial(t, inner.Addr()) }, runtime.Gosched)
			t.Log(took)
			require.Less(t, took, 10*time.Second)
		})
	}
}
