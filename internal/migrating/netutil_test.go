package migrating

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/netutil"

	"github.com/connhygiene/connhygiene/listener"
)

func limitBefore(l net.Listener) net.Listener {
	return netutil.LimitListener(l, 1000) // an agent takes its place for as long as it is connected
}

func limitAfter(l net.Listener) *listener.Throttled {
	return listener.Throttle(l, listener.Limits{
		MaxConns:   1000, // the same
		MaxPending: 20,   // and no more than 20 logins at once: call listener.Admit when one has succeeded, and set http.Server.ConnState to listener.ConnState
	})
}

func TestLimitListener(t *testing.T) {
	for name, limit := range map[string]func(net.Listener) net.Listener{
		"before": limitBefore,
		"after":  func(l net.Listener) net.Listener { return limitAfter(l) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l = limit(l)
			defer l.Close()
			client, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			defer client.Close()
			conn, err := l.Accept()
			require.NoError(t, err)
			defer conn.Close()
			require.Equal(t, name == "after", listener.Admit(conn))
		})
	}
}
