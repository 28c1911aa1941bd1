package listener_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// slow answers after a minute; /hijack says so at once after a second, and reads.
func slow(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/hijack" {
		time.Sleep(time.Minute)
		fmt.Fprint(w, "done")
		return
	}
	time.Sleep(time.Second)
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: none\r\n\r\n")
	_, _ = io.Copy(io.Discard, c)
}

// late is a listener whose connections wait before the server has them.
type late struct {
	net.Listener
	wait chan struct{}
}

func (l *late) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	<-l.wait
	return c, err
}

// A connection that is told to end between Accept and the server, such as one in the hand
// of a Merged, has its request answered as any other.
func TestHTTPEndOfAConnectionThatTheServerHasNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(inner, listener.Limits{MaxConns: 9})
		on := &late{l, make(chan struct{})}
		srv := &http.Server{Handler: http.HandlerFunc(slow)}
		end := listener.HTTPEnd(srv, 0)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(on) }()
		c := connect(t, inner)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: server\r\n\r\n")
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(t.Context(), 1000, end) }()
		synctest.Wait()
		close(on.wait)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.True(t, resp.Close, "it says that it is the last")
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "done", string(body))
		require.NoError(t, <-drained)
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

// A connection that is hijacked after it was told is closed after its grace, too.
func TestHTTPEndOfAConnectionThatIsHijackedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(inner, listener.Limits{MaxConns: 9})
		srv := &http.Server{Handler: http.HandlerFunc(slow)}
		end := listener.HTTPEnd(srv, 100*time.Millisecond)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		c := connect(t, inner)
		fmt.Fprint(c, "GET /hijack HTTP/1.1\r\nHost: server\r\n\r\n")
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, l.Drain(t.Context(), 1000, end))
		require.Equal(t, 1100*time.Millisecond, time.Since(begin))
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

// HTTPEnd keeps nothing of connections that are closed or hijacked, and the hooks that were
// set see each.
func TestHTTPEndForgets(t *testing.T) {
	for _, path := range []string{"/", "/hijack"} {
		t.Run(path, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			forgotten := make(chan struct{}, 9)
			l := listener.Throttle(wrapping{inner, func(c net.Conn) net.Conn {
				tracked := &embeds{c}
				runtime.AddCleanup(tracked, func(int) { forgotten <- struct{}{} }, 0)
				return tracked
			}}, listener.Limits{MaxConns: 9})
			type key struct{}
			srv := &http.Server{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Context().Value(key{}) != "mine" {
						w.WriteHeader(http.StatusTeapot)
						return
					}
					if r.URL.Path == "/hijack" {
						c, _, _ := http.NewResponseController(w).Hijack()
						fmt.Fprint(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
						_ = c.Close()
					}
				}),
				ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
					return context.WithValue(ctx, key{}, "mine")
				},
			}
			listener.HTTPEnd(srv, 0)
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Get("http://" + l.Addr().String() + path)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
			require.Eventually(t, func() bool { runtime.GC(); return len(forgotten) == 1 }, time.Minute, time.Millisecond)
			require.NoError(t, srv.Close())
			require.ErrorIs(t, <-served, http.ErrServerClosed)
		})
	}
}
