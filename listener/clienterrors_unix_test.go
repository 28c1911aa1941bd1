//go:build unix

package listener_test

import (
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

// clientErrors are what accept(2) returns for one connection: see its manual, and
// cockpit-project/cockpit#12673 for a firewall's EPERM.
var clientErrors = []error{
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPERM, syscall.EPROTO, syscall.ENOPROTOOPT,
	syscall.EOPNOTSUPP, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
}

// An error that concerns one client neither ends a listener nor costs the next client
// time.
func TestAcceptGoesOnAfterOneClientsError(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"throttle": func(l net.Listener) net.Listener { return listener.Throttle(l, listener.Limits{MaxPending: 1}) },
		"merge":    func(l net.Listener) net.Listener { return listener.Merge(l) },
		"leg":      func(l net.Listener) net.Listener { return listener.Merge(listenertest.New(), l) },
		"gate": func(l net.Listener) net.Listener {
			g := listener.NewGate(l)
			_ = g.Open(t.Context())
			return g
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := listenertest.New()
				var errs []error
				for _, e := range clientErrors {
					errs = append(errs, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", e)})
				}
				l := wrap(&scripted{Listener: inner, errs: errs})
				connect(t, inner)
				begin := time.Now()
				accept(t, l)
				require.Zero(t, time.Since(begin))
				require.NoError(t, l.Close())
			})
		})
	}
}

// alwaysFails is a listener under which accept(2) is forbidden.
type alwaysFails struct {
	net.Listener
	mu    sync.Mutex
	calls int
}

func (l *alwaysFails) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	return nil, &net.OpError{Op: "accept", Err: syscall.EPERM}
}

func TestAcceptThatAlwaysFailsCostsNoCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &alwaysFails{Listener: listenertest.New()}
		l := listener.Throttle(inner, listener.Limits{})
		got := acceptLater(l)
		time.Sleep(time.Minute)
		require.NoError(t, l.Close())
		require.ErrorIs(t, (<-got).err, net.ErrClosed)
		require.Less(t, inner.calls, 1100)
	})
}
