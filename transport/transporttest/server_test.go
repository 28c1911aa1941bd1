package transporttest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

var servers = map[string]func(testing.TB, http.Handler) *transporttest.Server{
	"HTTP1": transporttest.NewServer,
	"TLS":   transporttest.NewTLSServer,
	"HTTP2": transporttest.NewHTTP2Server,
	"pipe":  transporttest.NewPipeServer,
}

// sized answers with as many bytes as the query says, of known length.
var sized = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body := bytes.Repeat([]byte{'x'}, len(r.URL.RawQuery))
	_, _ = w.Write(body)
})

func get(t testing.TB, client *http.Client, url string) *http.Response {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	return resp
}

func read(t testing.TB, resp *http.Response) {
	t.Helper()
	_, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}

func TestServersCount(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			srv := start(t, sized)
			require.Zero(t, srv.Conns())
			for range 10 {
				read(t, get(t, srv.Client(), srv.URL+"/?12345"))
			}
			require.Equal(t, 1, srv.Conns())
			require.Equal(t, 10, srv.Requests())
			srv.WantConns(1)
		})
	}
}

func TestServersSpeak(t *testing.T) {
	for name, want := range map[string]string{"HTTP1": "HTTP/1.1", "TLS": "HTTP/1.1", "HTTP2": "HTTP/2.0", "pipe": "HTTP/1.1"} {
		t.Run(name, func(t *testing.T) {
			srv := servers[name](t, sized)
			resp := get(t, srv.Client(), srv.URL)
			require.Equal(t, want, resp.Proto)
			require.Equal(t, name == "TLS" || name == "HTTP2", resp.TLS != nil)
			read(t, resp)
		})
	}
}

// A connection that its handler took over ends with the server, as the others do.
func TestCloseEndsUpgrades(t *testing.T) {
	for _, name := range []string{"HTTP1", "TLS", "pipe"} {
		t.Run(name, func(t *testing.T) {
			srv := servers[name](t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: none\r\n\r\n")
				_, _ = io.Copy(io.Discard, conn)
			}))
			resp := get(t, srv.Client(), srv.URL)
			srv.Close()
			_, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		})
	}
}

// The client is one that others can build on.
func TestClientIsPlain(t *testing.T) {
	srv := transporttest.NewTLSServer(t, sized)
	require.Same(t, srv.Client(), srv.Client())
	base, ok := srv.Client().Transport.(*http.Transport)
	require.True(t, ok)
	fresh := transport.New(1)
	fresh.TLSClientConfig = base.TLSClientConfig
	client := &http.Client{Transport: &transport.Reuse{Base: fresh}}
	defer client.CloseIdleConnections()
	read(t, get(t, client, srv.URL+"/?1"))
	require.Equal(t, 1, srv.Conns())
}

func TestNilHandlerIsDefaultServeMux(t *testing.T) {
	srv := transporttest.NewServer(t, nil)
	resp := get(t, srv.Client(), srv.URL)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	read(t, resp)
}

func TestWantConnsNamesTheUnreadBody(t *testing.T) {
	tb := &recorder{TB: t}
	srv := transporttest.NewServer(tb, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000") // more than Go 1.27 drains
		_, _ = w.Write(make([]byte, 1000000))
	}))
	read(t, get(t, srv.Client(), srv.URL+"/first"))
	resp := get(t, srv.Client(), srv.URL+"/second")
	require.NoError(t, resp.Body.Close())
	read(t, get(t, srv.Client(), srv.URL+"/third"))
	srv.WantConns(2)
	require.Empty(t, tb.failures)
	got := ""
	require.Eventually(t, func() bool { // the server has to notice
		tb.failures = nil
		srv.WantConns(1)
		got = tb.failures[0]
		return strings.Contains(got, "then closed")
	}, 10*time.Second, time.Millisecond)
	tb.end()
	require.Contains(t, got, "2 connections for 3 requests, want at most 1\n")
	require.Regexp(t, `connection 1: 2 requests, the first GET /first \(transporttest/server_test.go:\d+ < transporttest/server_test.go:\d+\), the last GET /second \(.*\); then closed by the client: the body of its last answer was not read to EOF`, got)
	require.Regexp(t, `connection 2: one request, GET /third \(.*server_test.go:\d+\); (open and idle|still busy)`, got)
}

func TestWantConnsNamesWhoAskedForTheEnd(t *testing.T) {
	tb := &recorder{TB: t}
	srv := transporttest.NewServer(tb, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answer" {
			w.Header().Set("Connection", "Close")
		}
	}))
	read(t, get(t, srv.Client(), srv.URL+"/answer"))
	req, err := http.NewRequest(http.MethodPut, srv.URL+"/request", nil)
	require.NoError(t, err)
	req.Close = true
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	read(t, resp)
	got := ""
	require.Eventually(t, func() bool { // the server has to notice
		tb.failures = nil
		srv.WantConns(0)
		got = tb.failures[0]
		return strings.Count(got, "then closed") == 2
	}, 10*time.Second, time.Millisecond)
	tb.end()
	require.Regexp(t, `connection 1: one request, GET /answer .*: the answer asked for it`, got)
	require.Regexp(t, `connection 2: one request, PUT /request .*: the request asked for it`, got)
}

func TestWantConnsNamesBusyOnes(t *testing.T) {
	tb := &recorder{TB: t}
	both, leave := new(sync.WaitGroup), make(chan struct{})
	both.Add(2)
	srv := transporttest.NewServer(tb, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		both.Done()
		<-leave
	}))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { read(t, get(t, srv.Client(), srv.URL)) })
	}
	both.Wait()
	srv.WantConns(1)
	close(leave)
	wg.Wait()
	got := tb.end()
	require.Contains(t, got, "connections 1 and 2, each: one request, GET / (transporttest/server_test.go:")
	require.Contains(t, got, "still busy")
}

func TestWantConnsListsAFewOfMany(t *testing.T) {
	tb := &recorder{TB: t}
	srv := transporttest.NewServer(tb, sized)
	srv.Client().Transport.(*http.Transport).DisableKeepAlives = true
	for i := range 25 {
		read(t, get(t, srv.Client(), fmt.Sprint(srv.URL, "/", i)))
	}
	srv.WantConns(1)
	got := tb.end()
	require.Equal(t, 12, len(strings.Split(got, "\n")), got)
	require.Contains(t, got, "\n\tand 15 more")
}

// Code under test that has a client of its own is counted as well.
func TestForeignClientIsCounted(t *testing.T) {
	tb := &recorder{TB: t}
	srv := transporttest.NewServer(tb, sized)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	read(t, get(t, client, srv.URL))
	read(t, get(t, client, srv.URL))
	require.Eventually(t, func() bool { // the server has to notice
		tb.failures = nil
		srv.WantConns(1)
		return strings.Contains(tb.failures[0], "connections 1 and 2, each: one request, GET /; then closed: the request asked for it")
	}, 10*time.Second, time.Millisecond)
	tb.end()
}

func TestCloseEndsHandlers(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			entered, left := make(chan struct{}), make(chan struct{})
			srv := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(entered)
				<-r.Context().Done()
				close(left)
			}))
			failed := make(chan error)
			go func() {
				_, err := srv.Client().Get(srv.URL) //nolint:bodyclose // there is none
				failed <- err
			}()
			<-entered
			srv.Close()
			srv.Close()
			require.Error(t, <-failed)
			<-left
			_, err := srv.Client().Get(srv.URL) //nolint:bodyclose // there is none
			require.Error(t, err)
		})
	}
}

// A handler's panic is in the log of its test, which net/http would print in
// between those of others.
func TestPanicsAreLogged(t *testing.T) {
	tb := &logger{recorder: recorder{TB: t}}
	srv := transporttest.NewServer(tb, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("handler broke") }))
	_, err := srv.Client().Get(srv.URL) //nolint:bodyclose // there is none
	require.Error(t, err)
	tb.end()
	require.Contains(t, tb.text.String(), "handler broke")
}

type logger struct {
	recorder
	text strings.Builder
}

func (l *logger) Logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, arg := range args {
		l.text.WriteString(string(arg.([]byte)))
	}
}

func TestPipeWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, sized)
		read(t, get(t, srv.Client(), srv.URL+"/?12345"))
		time.Sleep(80 * time.Second)
		read(t, get(t, srv.Client(), srv.URL+"/?12345"))
		srv.WantConns(1)
		time.Sleep(time.Hour) // IdleConnTimeout of New is 90s
		read(t, get(t, srv.Client(), srv.URL+"/?12345"))
		require.Equal(t, 2, srv.Conns())
		require.Equal(t, 3, srv.Requests())
	})
}

// A handler can leave although nobody reads what it wrote, as on a socket.
func TestPipeBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan struct{})
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 50<<10))
			close(left)
		}))
		resp := get(t, srv.Client(), srv.URL)
		<-left
		read(t, resp)
	})
}

// Deadlines of the server and of the client's context end what waits.
func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrote := make(chan error, 1)
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.SetWriteDeadline(time.Now().Add(time.Second))
			_, err := w.Write(make([]byte, 1<<20)) // nobody reads: waits for room
			wrote <- err
		}))
		start := time.Now()
		resp := get(t, srv.Client(), srv.URL)
		require.Error(t, <-wrote)
		require.Equal(t, time.Second, time.Since(start))
		_, err := io.Copy(io.Discard, resp.Body)
		require.Error(t, err)
		require.NoError(t, ignoreEOF(resp.Body.Close()))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		srv = transporttest.NewPipeServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
		require.NoError(t, err)
		_, err = srv.Client().Do(req) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// ignoreEOF: what Close says of a body that broke off is net/http's.
func ignoreEOF(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func TestPipeCarriesMuch(t *testing.T) {
	srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	}))
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	resp, err := srv.Client().Post(srv.URL, "text/plain", io.MultiReader(bytes.NewReader(sent)))
	require.NoError(t, err)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.True(t, bytes.Equal(sent, got))
}

func TestCheckFindsTheLeak(t *testing.T) {
	tb := &recorder{TB: t}
	srv := transporttest.NewServer(tb, sized)
	client := srv.Client()
	transporttest.Check(tb, client)
	read(t, get(t, client, srv.URL+"/closed?123"))
	for range 3 {
		get(t, client, srv.URL+"/open?123")
	}
	got := tb.end()
	require.Regexp(t, `^transporttest: the body of GET http://\S+/open\?123 \(transporttest/server_test.go:\d+ < transporttest/server_test.go:\d+\) was never closed \(3 times\)$`, got)
}

func TestCheckPassesOnWhatItWraps(t *testing.T) {
	tb := &recorder{TB: t}
	client := &http.Client{}
	transporttest.Check(tb, client)
	u, ok := client.Transport.(interface{ Unwrap() http.RoundTripper })
	require.True(t, ok)
	require.Same(t, http.DefaultTransport, u.Unwrap())

	base := &idleCloser{RoundTripper: roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: upgraded{httptest.NewRecorder().Body}}, nil
	})}
	client = &http.Client{Transport: base}
	transporttest.Check(tb, client)
	client.CloseIdleConnections()
	require.Equal(t, 1, base.closed)
	resp := get(t, client, "http://upgraded.test")
	_, writable := resp.Body.(io.ReadWriteCloser)
	require.True(t, writable)
	require.NoError(t, resp.Body.Close())
	require.Empty(t, tb.end())
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type idleCloser struct {
	http.RoundTripper
	closed int
}

func (c *idleCloser) CloseIdleConnections() { c.closed++ }

type upgraded struct{ io.ReadWriter }

func (upgraded) Close() error { return nil }
