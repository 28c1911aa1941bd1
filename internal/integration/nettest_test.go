package integration_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// The suite of x/net for connections, over ours: those in memory, and wrapped ones.
func TestNettest(t *testing.T) {
	for name, listen := range map[string]func(*testing.T) (net.Listener, func() (net.Conn, error)){
		"memory": func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
			l := listenertest.New()
			return l, func() (net.Conn, error) { return l.Dial(t.Context()) }
		},
		"throttled memory": func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
			l := listenertest.New()
			return listener.Throttle(l, listener.Limits{MaxPending: 9}), func() (net.Conn, error) { return l.Dial(t.Context()) }
		},
		"throttled TCP": func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
			l := listenTCP(t)
			return listener.Throttle(l, listener.Limits{MaxPending: 9}), func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				l, dial := listen(t)
				if c1, err = dial(); err != nil {
					return nil, nil, nil, err
				}
				if c2, err = l.Accept(); err != nil {
					return nil, nil, nil, err
				}
				return c1, c2, func() { _, _, _ = c1.Close(), c2.Close(), l.Close() }, nil
			})
		})
	}
}
