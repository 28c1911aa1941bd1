package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// conformServer has a path for each thing that a transport can do.
func conformServer() http.Handler {
	mux := http.NewServeMux()
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	mux.HandleFunc("/text", text("some text"))
	mux.HandleFunc("/204", status(http.StatusNoContent))
	mux.HandleFunc("/304", status(http.StatusNotModified))
	mux.HandleFunc("/500", status(http.StatusInternalServerError))
	mux.Handle("/gzip", gzipped("decoded text"))
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "chunk")
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Announced")
		_, _ = io.WriteString(w, "text")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("Announced", "1")
		w.Header().Set(http.TrailerPrefix+"Not-Announced", "2")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %q %v %s %v", r.Method, body, err, r.Header.Get("Content-Type"), r.ContentLength)
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusExpectationFailed) })
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "late")
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/cookies", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/cookies", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes"})
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, r.Cookies(), string(body))
	})
	mux.HandleFunc("/stall", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or the client may see a proper end
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "not so much")
	})
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	return mux
}

// An outcome is all that a caller can see of an exchange.
type outcome struct {
	status, proto, body  string
	length               int64
	uncompressed, closed bool
	noBody, writable     bool
	header, trailer      http.Header
	transferEncoding     []string
	err, readErr, again  string
	sameRequest          bool
	informational        []string
}

// observe does a request and notes everything.
func observe(client *http.Client, req *http.Request) (o outcome) {
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			o.informational = append(o.informational, fmt.Sprint(code, h))
			return nil
		},
	}))
	resp, err := client.Do(req)
	if err != nil {
		o.err = plain(err)
		return o
	}
	o.status, o.proto, o.length = resp.Status, resp.Proto, resp.ContentLength
	o.uncompressed, o.closed, o.noBody = resp.Uncompressed, resp.Close, resp.Body == http.NoBody
	_, o.writable = resp.Body.(io.Writer)
	o.transferEncoding = resp.TransferEncoding
	o.header = resp.Header.Clone()
	o.header.Del("Date")
	body, err := io.ReadAll(resp.Body)
	o.body, o.readErr = string(body), plain(err)
	if err == nil { // after an error net/http may give another
		_, err = resp.Body.Read(make([]byte, 1))
		o.again = plain(err)
	}
	o.trailer = resp.Trailer
	o.sameRequest = resp.Request == req
	_ = resp.Body.Close()
	return o
}

// plain is an error by what can be asked of it, without addresses.
func plain(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint("error",
		" EOF:", errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		" context:", errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		" broken:", errors.Is(err, errBroken))
}

var errBroken = errors.New("upload broke")

// Through Reuse everything is as it is without.
func TestConformance(t *testing.T) {
	body := func(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }
	none := func() io.Reader { return nil }
	servers := map[string]*transporttest.Server{}
	for name, start := range protocols {
		servers[name] = start(t, conformServer())
	}
	for _, c := range []conformCase{
		{"text", "GET", "/text", none, nil, nil, nil},
		{"no method", "", "/text", none, nil, nil, nil},
		{"not found", "GET", "/nowhere", none, nil, nil, nil},
		{"HEAD", "HEAD", "/text", none, nil, nil, nil},
		{"HEAD chunked", "HEAD", "/chunked", none, nil, nil, nil},
		{"204", "GET", "/204", none, nil, nil, nil},
		{"304", "GET", "/304", none, nil, nil, nil},
		{"500", "DELETE", "/500", none, nil, nil, nil},
		{"gzip", "GET", "/gzip", none, nil, nil, nil},
		{"gzip as it is", "GET", "/gzip", none, http.Header{"Accept-Encoding": {"gzip"}}, nil, nil},
		{"chunked", "GET", "/chunked", none, nil, nil, nil},
		{"trailers", "GET", "/trailers", none, nil, nil, nil},
		{"early hints", "GET", "/early", none, nil, nil, nil},
		{"POST", "POST", "/echo", body("upload"), nil, nil, nil},
		{"POST of unknown length", "POST", "/echo", func() io.Reader { return io.MultiReader(strings.NewReader("upload")) }, nil, nil, nil},
		{"POST of nothing", "POST", "/echo", func() io.Reader { return http.NoBody }, nil, nil, nil},
		{"continue", "POST", "/echo", body("upload"), http.Header{"Expect": {"100-continue"}}, nil, nil},
		{"continue, no", "POST", "/refuse", body("upload"), http.Header{"Expect": {"100-continue"}}, nil, nil},
		{"failing upload", "POST", "/echo", func() io.Reader { return io.MultiReader(strings.NewReader("half"), failing{errBroken}) }, nil, nil, nil},
		{"redirect", "POST", "/redirect", body("again"), nil, nil, nil},
		{"redirect for ever", "GET", "/loop", none, nil, nil, nil},
		{"redirect, not followed", "GET", "/redirect", none, nil, nil, func(c *http.Client) {
			c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}},
		{"cookies", "GET", "/cookies", none, nil, nil, func(c *http.Client) { c.Jar, _ = cookiejar.New(nil) }},
		{"close", "GET", "/text", none, nil, func(r *http.Request) *http.Request { r.Close = true; return r }, nil},
		{"connection: close", "GET", "/text", none, http.Header{"Connection": {"close"}}, nil, nil},
		{"short", "GET", "/short", none, nil, nil, nil},
		{"abort", "GET", "/abort", none, nil, nil, nil},
		{"bad header", "GET", "/text", none, http.Header{"Bad\nHeader": {"x"}}, nil, nil},
		{"cancelled", "GET", "/text", none, nil, func(r *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			return r.WithContext(ctx)
		}, nil},
		{"deadline in the body", "GET", "/stall", none, nil, func(r *http.Request) *http.Request {
			ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
			context.AfterFunc(ctx, cancel)
			return r.WithContext(ctx)
		}, nil},
		{"Client.Timeout", "GET", "/stall", none, nil, nil, func(c *http.Client) { c.Timeout = 50 * time.Millisecond }},
	} {
		for name, srv := range servers {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				c.compare(t, srv)
			})
		}
	}
}

// A conformCase is two requests of a client.
type conformCase struct {
	name, method, path string
	body               func() io.Reader
	header             http.Header
	change             func(*http.Request) *http.Request
	client             func(*http.Client)
}

// compare compares what Reuse does with what the bare transport does. Where time
// runs out, a busy machine may let it run out earlier, so that is done again.
func (c conformCase) compare(t *testing.T, srv *transporttest.Server) {
	t.Helper()
	rest := 0
	if c.path == "/stall" {
		rest = 4
	}
	for ; ; rest-- {
		bare := c.outcomes(t, srv, base(t, srv, 10))
		plain := c.outcomes(t, srv, &transport.Reuse{Base: base(t, srv, 10)})
		full := c.outcomes(t, srv, &transport.Reuse{
			Base: base(t, srv, 10), ColdStart: true, MaxConnAge: time.Hour, Timeout: time.Minute, OnLeak: func(transport.Leak) {},
		})
		if rest > 0 && !(reflect.DeepEqual(bare, plain) && reflect.DeepEqual(bare, full)) {
			continue
		}
		require.Equal(t, bare, plain, "plain")
		require.Equal(t, bare, full, "with everything")
		return
	}
}

// outcomes are those of the case's requests, the second on a connection that is
// there, if it may be.
func (c conformCase) outcomes(t *testing.T, srv *transporttest.Server, rt http.RoundTripper) (both [2]outcome) {
	t.Helper()
	client := &http.Client{Transport: rt}
	if c.client != nil {
		c.client(client)
	}
	for i := range both {
		req, err := http.NewRequestWithContext(t.Context(), c.method, srv.URL+c.path, c.body())
		require.NoError(t, err)
		if c.header != nil {
			req.Header = c.header.Clone()
		}
		if c.change != nil {
			req = c.change(req)
		}
		both[i] = observe(client, req)
	}
	return both
}

// What a body can do besides reading is passed through.
func TestWritableBodiesAreUntouched(t *testing.T) {
	inner := upgraded{new(bytes.Buffer)}
	for _, status := range []int{http.StatusSwitchingProtocols, http.StatusOK} {
		r := &transport.Reuse{OnLeak: func(transport.Leak) {}, Base: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, ProtoMajor: 1, Body: inner, Header: http.Header{}}, nil
		})}
		resp := get(t, r, "http://fake.test")
		require.Equal(t, inner, resp.Body)
		require.NoError(t, resp.Body.Close())
	}
	read := io.NopCloser(strings.NewReader(""))
	r := &transport.Reuse{Base: roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: read, Header: http.Header{}}, nil
	})}
	require.Equal(t, read, get(t, r, "http://fake.test").Body)
}

type upgraded struct{ io.ReadWriter }

func (upgraded) Close() error { return nil }

// Concurrent requests through one server of net/http/httptest, all of whose
// connections end with its Close.
func TestHTTPTestServer(t *testing.T) {
	srv := httptest.NewServer(payload)
	defer srv.Close()
	r := &transport.Reuse{Base: transport.New(10)}
	defer r.CloseIdleConnections()
	concurrently(10, 200, func() { closeUnread(t, r, srv.URL+"/?n=1000") })
	require.EqualValues(t, 200, r.Stats().Drained)
}
