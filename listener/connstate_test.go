package listener_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
)

// An HTTP/2 server says that a connection is idle before its first request. It has not
// been answered then, and holds its place until it is.
func TestConnStateOfHTTP2(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := listener.Throttle(inner, listener.Limits{MaxPending: 1, PendingTimeout: -1})
	asked := make(chan int, 2)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			asked <- l.Stats().Pending
		}
	}))
	require.NoError(t, srv.Listener.Close())
	srv.Listener, srv.EnableHTTP2 = l, true
	admitted := make(chan struct{}, 9)
	srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
		listener.ConnState(c, s)
		if s == http.StateIdle {
			admitted <- struct{}{}
		}
	}
	srv.StartTLS()
	defer srv.Close()
	get := func(client *http.Client) {
		resp, err := client.Get(srv.URL)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	get(srv.Client())
	require.Equal(t, 1, <-asked, "it is pending while it is asked")
	<-admitted
	<-admitted
	require.Zero(t, l.Stats().Pending)
	get(srv.Client())
	require.Zero(t, <-asked)
}
