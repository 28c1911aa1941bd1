package listener_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// accepted is what an Accept in a goroutine has returned.
type accepted struct {
	net.Conn
	err error
}

func acceptLater(l net.Listener) <-chan accepted {
	done := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		done <- accepted{c, err}
	}()
	return done
}

func pending[T any](t *testing.T, ch <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-ch:
		require.FailNow(t, "did not wait", "%v", v)
	default:
	}
}

func connect(t *testing.T, l *listenertest.Listener) net.Conn {
	t.Helper()
	c, err := l.Dial(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// noDeadline is a listener whose Accept only Close ends.
type noDeadline struct{ net.Listener }

// scripted is a listener whose Accept returns errors first.
type scripted struct {
	net.Listener
	mu   sync.Mutex
	errs []error
}

func (s *scripted) Accept() (net.Conn, error) {
	s.mu.Lock()
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		s.mu.Unlock()
		return nil, err
	}
	s.mu.Unlock()
	return s.Listener.Accept()
}

func TestParkedGateKeepsClientsForOpen(t *testing.T) {
	for name, wrap := range map[string]func(*listenertest.Listener) net.Listener{
		"deadline":    func(l *listenertest.Listener) net.Listener { return l },
		"no deadline": func(l *listenertest.Listener) net.Listener { return noDeadline{l} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := listenertest.New()
				g := listener.NewGate(wrap(inner))
				defer g.Close()
				got := acceptLater(g)
				first := connect(t, inner)
				pending(t, got)
				require.NoError(t, g.Open(t.Context()))
				require.Equal(t, first.LocalAddr(), (<-got).RemoteAddr())

				got = acceptLater(g)
				synctest.Wait() // inside the inner Accept
				require.NoError(t, g.Shut())
				second := connect(t, inner)
				pending(t, got)
				if name == "deadline" {
					require.Equal(t, 1, inner.Queued()) // for whoever else has the socket
				}
				require.NoError(t, g.Open(t.Context()))
				require.Equal(t, second.LocalAddr(), (<-got).RemoteAddr())
				require.Equal(t, listener.GateStats{Accepted: 2, Openings: 2}, g.Stats())
			})
		})
	}
}

func TestCloseResetsWhatAParkedGateKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		g := listener.NewGate(noDeadline{inner})
		require.NoError(t, g.Open(t.Context()))
		got := acceptLater(g)
		synctest.Wait()
		require.NoError(t, g.Shut())
		client := connect(t, inner)
		pending(t, got)
		require.NoError(t, g.Close())
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Equal(t, uint64(1), g.Stats().Reset)
		require.Zero(t, g.Stats().AcceptErrors)
	})
}

func TestCloseWakesGate(t *testing.T) {
	for name, prepare := range map[string]func(*listener.Gate) error{
		"closed": func(*listener.Gate) error { return nil },
		"opened": func(g *listener.Gate) error { return g.Open(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := listener.NewGate(listenertest.New())
				require.NoError(t, prepare(g))
				a, b := acceptLater(g), acceptLater(g)
				synctest.Wait()
				require.NoError(t, g.Close())
				require.NoError(t, g.Close())
				require.ErrorIs(t, (<-a).err, net.ErrClosed)
				require.ErrorIs(t, (<-b).err, net.ErrClosed)
			})
		})
	}
}

// temporary is an error of an inner listener that says so itself.
type temporary struct{}

func (temporary) Error() string   { return "temporary" }
func (temporary) Temporary() bool { return true }

func TestAcceptWaitsOutWhatPasses(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"gate": func(l net.Listener) net.Listener {
			g := listener.NewGate(l)
			_ = g.Open(context.Background())
			return g
		},
		"throttle": func(l net.Listener) net.Listener { return listener.Throttle(l, listener.Limits{}) },
		"merge":    func(l net.Listener) net.Listener { return listener.Merge(listenertest.New(), l) },
		"one leg":  func(l net.Listener) net.Listener { return listener.Merge(l) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := listenertest.New()
				client := connect(t, inner)
				l := wrap(&scripted{Listener: inner, errs: []error{
					&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}, // 5 ms
					syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, temporary{}, // 10, 20, 40, 80 ms
					syscall.ECONNABORTED, syscall.ECONNABORTED, // at once
				}})
				defer l.Close()
				start := time.Now()
				c := accept(t, l)
				require.Equal(t, client.LocalAddr(), c.RemoteAddr())
				require.Equal(t, 155*time.Millisecond, time.Since(start))
				switch l := l.(type) {
				case *listener.Gate:
					require.Equal(t, uint64(7), l.Stats().AcceptErrors)
				case *listener.Throttled:
					require.Equal(t, uint64(7), l.Stats().AcceptErrors)
				}
			})
		})
	}
}

func TestPauseIsAtMostASecondAndCloseEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{Listener: listenertest.New()}
		for range 1000 {
			s.errs = append(s.errs, syscall.EMFILE)
		}
		g := listener.NewGate(s)
		require.NoError(t, g.Open(t.Context()))
		got := acceptLater(g)
		time.Sleep(time.Minute + 500*time.Millisecond)
		synctest.Wait()
		n := g.Stats().AcceptErrors
		require.InDelta(t, 60+8, n, 2)

		start := time.Now()
		require.NoError(t, g.Close())
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
		require.Zero(t, time.Since(start))
	})
}

func TestAcceptReturnsWhatLasts(t *testing.T) {
	errGone := errors.New("device gone")
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{Listener: listenertest.New(), errs: []error{errGone, errGone, errGone}}
		g := listener.NewGate(inner)
		require.NoError(t, g.Open(t.Context()))
		_, err := g.Accept()
		require.ErrorIs(t, err, errGone)
		tl := listener.Throttle(g, listener.Limits{Rate: 1})
		_, err = tl.Accept()
		require.ErrorIs(t, err, errGone)
		m := listener.Merge(tl)
		_, err = m.Accept()
		require.ErrorIs(t, err, errGone)
		require.ErrorIs(t, m.Err(), errGone)
		require.NoError(t, m.Close())
	})
}

// nowhere is a listener without an address.
type nowhere struct{ net.Listener }

func (nowhere) Addr() net.Addr { return nil }

func TestListenerWithoutAddress(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"gate":     func(l net.Listener) net.Listener { return listener.NewGate(l) },
		"throttle": func(l net.Listener) net.Listener { return listener.Throttle(l, listener.Limits{}) },
		"merge":    func(l net.Listener) net.Listener { return listener.Merge(l) },
		"two legs": func(l net.Listener) net.Listener { return listener.Merge(l, listenertest.New()) },
	} {
		l := wrap(nowhere{listenertest.New()})
		require.Nil(t, l.Addr(), name)
		require.NoError(t, l.Close(), name)
		_, err := l.Accept()
		require.ErrorIs(t, err, net.ErrClosed, name)
	}
	g := listener.NewGate(nowhere{listenertest.New()})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, g.Open(ended), context.Canceled)
	require.NoError(t, g.Close())
	require.ErrorIs(t, g.Open(t.Context()), net.ErrClosed)
}

func TestNewGatePanicsOnNil(t *testing.T) {
	require.PanicsWithValue(t, "listener: NewGate with nil listener", func() { listener.NewGate(nil) })
}

func TestStateNames(t *testing.T) {
	require.Equal(t, "closed opened done State(7)", listener.Closed.String()+" "+listener.Opened.String()+" "+
		listener.Done.String()+" "+listener.State(7).String())
}
