package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
)

// Hosts that are counted together are not suspected together.
func TestOtherHostsAreNotSuspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := new(reporter)
		r := &transport.Reuse{Base: report}
		for i := range 256 {
			require.NoError(t, try(r, fmt.Sprintf("http://host%d.test/", i), time.Second))
		}
		one, two := new(net.TCPConn), new(net.TCPConn)
		for _, c := range []struct {
			conn *net.TCPConn
			path string
		}{{one, "one.test/"}, {two, "two.test/"}, {two, "two.test/hang"}} {
			report.infos = []httptrace.GotConnInfo{{Conn: c.conn, Reused: strings.HasSuffix(c.path, "hang")}}
			_ = try(r, "http://"+c.path, time.Second)
		}
		report.infos[0].Reused = true
		require.NoError(t, try(r, "http://one.test/", time.Second))
		require.Zero(t, r.Stats().Dropped)
	})
}

// pool is a Base that sends nothing again by itself. Servers answer on new connections
// only.
type pool struct{ idle, used []net.Conn }

func (b *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	reused := len(b.idle) > 0
	var conn net.Conn
	if reused {
		conn, b.idle = b.idle[0], b.idle[1:]
	} else {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		conn = client
		b.used = append(b.used, conn)
	}
	httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{Conn: conn, Reused: reused})
	if _, err := io.WriteString(conn, req.Method); err != nil {
		return nil, err
	}
	if reused {
		<-req.Context().Done()
		return nil, errors.Join(context.Cause(req.Context()), conn.Close())
	}
	if req.Body != nil {
		if body, err := io.ReadAll(req.Body); err != nil || len(body) == 0 {
			return nil, fmt.Errorf("%q, %w", body, err)
		}
	}
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, Body: http.NoBody}, nil
}

// A Base that does not send a request again is asked to, whatever the request's body is.
func TestDroppedRequestsAreSentAgain(t *testing.T) {
	for _, body := range []io.Reader{nil, strings.NewReader("again"), io.MultiReader(strings.NewReader("once"))} {
		synctest.Test(t, func(t *testing.T) {
			base := new(pool)
			defer func() {
				for _, conn := range base.used {
					_ = conn.Close()
				}
			}()
			r := &transport.Reuse{Base: base, Timeout: time.Second}
			for range 8 {
				require.NoError(t, try(r, "http://fake.test", time.Minute))
			}
			base.idle = slices.Clone(base.used)
			require.Error(t, try(r, "http://fake.test", time.Minute))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://fake.test", body)
			require.NoError(t, err)
			resp, err := r.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Len(t, base.used, 9)
			require.EqualValues(t, 7, r.Stats().Dropped)
		})
	}
}

// reporter is a Base that tells what it likes of its connections.
type reporter struct{ infos []httptrace.GotConnInfo }

func (b reporter) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	for _, info := range b.infos {
		trace.GotConn(info)
	}
	if trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if req.URL.Path == "/hang" {
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	}
	if trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ContentLength: 3, Body: io.NopCloser(strings.NewReader("abc"))}, nil
}

// A Base that reports nothing, or a nothing, is no reason to panic.
func TestBaseThatReportsANothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, infos := range [][]httptrace.GotConnInfo{
			nil, {{}}, {{Reused: true}}, {{Reused: true}, {}}, {{Conn: (*net.TCPConn)(nil), Reused: true}},
		} {
			for _, r := range []*transport.Reuse{
				{},
				{ColdStart: true},
				{MaxConnAge: time.Nanosecond},
				{Timeout: time.Second, Silence: time.Second},
				{ColdStart: true, MaxConnAge: time.Hour, Timeout: time.Hour, OnLeak: func(transport.Leak) {}},
			} {
				r.Base = reporter{infos}
				for _, path := range []string{"/", "/hang", "/", "/hang", "/"} {
					err := try(r, "http://fake.test"+path, time.Second)
					switch {
					case path == "/hang":
						require.ErrorIs(t, err, context.DeadlineExceeded)
					case r.MaxConnAge > 0:
						require.ErrorContains(t, err, "MaxConnAge needs a Base")
					default:
						require.NoError(t, err)
					}
					time.Sleep(2 * time.Second)
				}
				require.Zero(t, r.Stats().Dropped)
				r.CloseIdleConnections()
			}
		}
	})
}
