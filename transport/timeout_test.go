package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// isTimeout wants an error that every way of asking calls a time-out.
func isTimeout(t testing.TB, err error) {
	t.Helper()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var ne net.Error
	ok := errors.As(err, &ne)
	require.True(t, ok)
	require.True(t, ne.Timeout())
	require.ErrorContains(t, err, "no end within 1s")
}

func TestTimeoutCoversEverything(t *testing.T) {
	for name, query := range map[string]string{"header": "", "body": "n=10&chunked&stall", "body of known length": "n=10&stall"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if query == "" {
						<-r.Context().Done()
						return
					}
					payload(w, r)
				}))
				r := &transport.Reuse{Base: base(t, srv, 1), Timeout: time.Second}
				start := time.Now()
				resp, err := (&http.Client{Transport: r}).Get(srv.URL + "/?" + query)
				if query == "" {
					isTimeout(t, err)
					require.EqualValues(t, 1, r.Stats().Failed)
				} else {
					require.NoError(t, err)
					_, err = io.Copy(io.Discard, resp.Body)
					isTimeout(t, err)
					require.NoError(t, ignore(resp.Body.Close(), context.DeadlineExceeded))
				}
				require.Equal(t, time.Second, time.Since(start))
			})
		})
	}
}

func ignore(err, known error) error {
	if errors.Is(err, known) {
		return nil
	}
	return err
}

func TestTimeoutOnRealSockets(t *testing.T) {
	for name, start := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, payload)
			r := &transport.Reuse{Base: base(t, srv, 1), Timeout: time.Minute}
			readAll(t, r, srv.URL+"/?n=10")
			r = &transport.Reuse{Base: base(t, srv, 1), Timeout: 30 * time.Millisecond}
			resp, err := r.RoundTrip(newRequest(t, srv.URL+"/?n=10&chunked&stall"))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

// Time that passes after the end, or after Close, is nobody's.
func TestTimeoutEndsWithTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: base(t, srv, 1), Timeout: time.Second}
		for _, query := range []string{"n=0", "n=10", "n=10&chunked"} {
			resp := get(t, r, srv.URL+"/?"+query)
			_, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			time.Sleep(time.Minute)
			require.NoError(t, resp.Body.Close())
			closeUnread(t, r, srv.URL+"/?"+query)
			time.Sleep(time.Minute)
		}
		srv.WantConns(1)
	})
}

// The caller's own end is the caller's, not a time-out of ours.
func TestCallersDeadlineStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: base(t, srv, 1), Timeout: time.Minute}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := r.RoundTrip(newRequest(t, srv.URL+"/?n=10&chunked&stall").WithContext(ctx))
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotContains(t, err.Error(), "no end within")
		_ = resp.Body.Close()
	})
}

func TestTimeoutIsTheDeadlineOfBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &transport.Reuse{Timeout: time.Minute, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
			ctx := req.Context()
			d, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, time.Minute, time.Until(d))
			<-ctx.Done()
			require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
			return nil, errors.New("base gave up")
		})}
		_, err := r.RoundTrip(newRequest(t, "http://fake.test")) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "base gave up")
	})
}

// An upgraded connection outlives Timeout, and is what Base returned.
func TestUpgradeOutlivesTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(echo))
		leaks := make(chan transport.Leak, 1)
		r := &transport.Reuse{Base: base(t, srv, 1), Timeout: time.Second, ColdStart: true, MaxConnAge: time.Nanosecond, OnLeak: func(l transport.Leak) { leaks <- l }}
		readAll(t, r, srv.URL)
		req := newRequest(t, srv.URL)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		resp, err := r.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		conn, ok := resp.Body.(io.ReadWriteCloser)
		require.True(t, ok)
		time.Sleep(time.Hour)
		_, err = io.WriteString(conn, "still there?\n")
		require.NoError(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "still there?\n", line)
		require.NoError(t, conn.Close())
	})
}

// A Base may go on to heed the context of an upgraded connection.
func TestUpgradeOutlivesTimeoutOfAnyBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen context.Context
		r := &transport.Reuse{Timeout: time.Second, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
			seen = req.Context()
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, Body: http.NoBody}, nil
		})}
		req := newRequest(t, "http://fake.test")
		req.Header.Set("Upgrade", "echo")
		_, err := r.RoundTrip(req) //nolint:bodyclose // there is none
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.NoError(t, seen.Err())
	})
}

// echo speaks a protocol of lines to whoever asks for it.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "echo" {
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, _ = io.Copy(conn, rw)
}
