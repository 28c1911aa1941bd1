package listenertest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener/listenertest"
)

func bubble(t *testing.T, f func(t *testing.T, l *listenertest.Listener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := listenertest.New()
		defer func() { require.NoError(t, l.Close()) }()
		f(t, l)
	})
}

// connect returns both ends of one connection.
func connect(t *testing.T, l *listenertest.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := l.Dial(t.Context())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

func TestDialDoesNotWaitForAccept(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		client, err := l.Dial(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, l.Queued())
		_, err = client.Write([]byte("hello"))
		require.NoError(t, err)

		server, err := l.Accept()
		require.NoError(t, err)
		require.Zero(t, l.Queued())
		require.NoError(t, client.Close())
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		require.NoError(t, server.Close())
	})
}

func TestAcceptIsFIFO(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		require.NoError(t, l.SetBacklog(2))
		for _, name := range []listenertest.Addr{"a", "b", "c", "d"} {
			go func() {
				_, err := l.DialFrom(context.Background(), name)
				require.NoError(t, err)
			}()
			synctest.Wait()
		}
		require.Equal(t, 2, l.Queued())
		for _, name := range []string{"a", "b", "c", "d"} {
			c, err := l.Accept()
			require.NoError(t, err)
			require.Equal(t, name, c.RemoteAddr().String())
		}
	})
}

func TestDialWaitsForPlace(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		require.NoError(t, l.SetBacklog(1))
		_, err := l.Dial(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = l.Dial(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, l.Queued())
		require.Error(t, l.SetBacklog(0))

		require.NoError(t, l.SetBacklog(2))
		_, err = l.Dial(t.Context())
		require.NoError(t, err)
	})
}

func TestDialEndedBeforeItBegins(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.Dial(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, l.Queued())
	})
}

func TestCloseRefusesAndResets(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		require.NoError(t, l.SetBacklog(1))
		queued, err := l.Dial(t.Context())
		require.NoError(t, err)
		waiting := make(chan error, 1)
		go func() {
			_, err := l.Dial(context.Background())
			waiting <- err
		}()
		synctest.Wait()

		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-waiting, syscall.ECONNREFUSED)
		_, err = queued.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = l.Dial(t.Context())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestCloseEndsEveryAccept(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		var accepts sync.WaitGroup
		for range 3 {
			accepts.Go(func() {
				_, err := l.Accept()
				require.ErrorIs(t, err, net.ErrClosed)
			})
		}
		synctest.Wait()
		require.NoError(t, l.Close())
		accepts.Wait()
	})
}

func TestAcceptDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		start := time.Now()
		require.NoError(t, l.SetDeadline(start.Add(time.Minute)))
		_, err := l.Accept()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(start))

		require.NoError(t, l.SetDeadline(time.Time{}))
		time.AfterFunc(time.Minute, func() { _ = l.SetDeadline(time.Unix(1, 0)) })
		_, err = l.Accept()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 2*time.Minute, time.Since(start))
	})
}

func TestReadDeadlineIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		_, server := connect(t, l)
		start := time.Now()
		require.NoError(t, server.SetDeadline(start.Add(time.Second)))
		require.NoError(t, server.SetReadDeadline(start.Add(time.Hour)))
		_, err := server.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.True(t, ne.Timeout())
		require.Equal(t, time.Hour, time.Since(start))
	})
}

func TestWriteBlocksOnlyWhenFull(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		client, server := connect(t, l)
		_, err := client.Write(make([]byte, 64<<10))
		require.NoError(t, err)
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := client.Write([]byte("x"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Zero(t, n)

		require.NoError(t, client.SetWriteDeadline(time.Time{}))
		go func() { _, _ = io.CopyN(io.Discard, server, 100<<10) }()
		n, err = client.Write(make([]byte, 100<<10))
		require.NoError(t, err)
		require.Equal(t, 100<<10, n)
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		client, server := connect(t, l)
		gone := server.(interface{ PeerClosed() bool }).PeerClosed
		require.False(t, gone())
		_, err := client.Write([]byte("ask"))
		require.NoError(t, err)
		require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
		require.True(t, gone())
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "ask", string(got))
		_, err = client.Write([]byte("more"))
		require.ErrorIs(t, err, net.ErrClosed)

		_, err = server.Write([]byte("answer"))
		require.NoError(t, err)
		require.NoError(t, server.Close())
		got, err = io.ReadAll(client)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
	})
}

func TestReset(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		client, server := connect(t, l)
		_, err := server.Write([]byte("lost"))
		require.NoError(t, err)
		require.NoError(t, server.(interface{ SetLinger(sec int) error }).SetLinger(0))
		require.NoError(t, server.Close())
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = client.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.ErrorIs(t, server.Close(), net.ErrClosed)
		_, err = server.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestCloseWakesReadAndWrite(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		client, _ := connect(t, l)
		var blocked sync.WaitGroup
		blocked.Go(func() {
			_, err := client.Read(make([]byte, 1))
			require.ErrorIs(t, err, net.ErrClosed)
		})
		blocked.Go(func() {
			_, err := client.Write(make([]byte, 100<<10))
			require.ErrorIs(t, err, net.ErrClosed)
		})
		synctest.Wait()
		require.NoError(t, client.Close())
		blocked.Wait()
	})
}

// Both ends of a connection write before they read: net/http answers a request
// whose body it has not read.
func TestHTTPAnswersBeforeReading(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no", http.StatusForbidden)
		})}
		go func() { _ = srv.Serve(l) }()
		tr := &http.Transport{DialContext: l.DialContext}
		client := &http.Client{Transport: tr}
		for range 10 {
			resp, err := client.Post("http://server/", "text/plain", strings.NewReader(strings.Repeat("x", 40<<10)))
			require.NoError(t, err)
			require.Equal(t, http.StatusForbidden, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
		}
		tr.CloseIdleConnections()
		require.NoError(t, srv.Shutdown(t.Context()))
	})
}

func TestHTTPIdleTimeoutOnTheBubblesClock(t *testing.T) {
	bubble(t, func(t *testing.T, l *listenertest.Listener) {
		srv := &http.Server{IdleTimeout: time.Hour, Handler: http.NotFoundHandler()}
		go func() { _ = srv.Serve(l) }()
		tr := &http.Transport{DialContext: l.DialContext}
		resp, err := (&http.Client{Transport: tr}).Get("http://server/")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		time.Sleep(time.Hour) // the server closes first
		synctest.Wait()
		require.NoError(t, srv.Shutdown(t.Context()))
	})
}

func FuzzStreamKeepsOrder(f *testing.F) {
	f.Add([]byte("abc"), 1, 2)
	f.Add(make([]byte, 70<<10), 4096, 100)
	f.Add([]byte{}, 0, 0)
	f.Fuzz(func(t *testing.T, data []byte, w, r int) {
		synctest.Test(t, func(t *testing.T) {
			l := listenertest.New()
			defer l.Close()
			client, server := connect(t, l)
			w, r := 1+max(w, -w, 0)%8192, 1+max(r, -r, 0)%8192
			go func() {
				for rest := data; len(rest) > 0; {
					n, _ := client.Write(rest[:min(w, len(rest))])
					rest = rest[n:]
				}
				_ = client.Close()
			}()
			var got []byte
			buf := make([]byte, r)
			for {
				n, err := server.Read(buf)
				got = append(got, buf[:n]...)
				if err != nil {
					break
				}
			}
			if string(got) != string(data) {
				t.Fatalf("read %d bytes, written %d", len(got), len(data))
			}
		})
	})
}
