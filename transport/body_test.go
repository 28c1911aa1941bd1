package transport_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

func newContext(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

func gzipped(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
	})
}

// answering is a Base that answers with body and no length.
func answering(body io.ReadCloser) roundTrip {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Body: body, Header: http.Header{}}, nil
	}
}

func TestCloseIsIdempotent(t *testing.T) {
	inner := &countingBody{}
	r := &transport.Reuse{Base: answering(inner)}
	resp := get(t, r, "http://fake.test")
	require.NoError(t, resp.Body.Close())
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 1, inner.closed)
	require.EqualValues(t, 1, r.Stats().Abandoned)
	_, err := resp.Body.Read(make([]byte, 1))
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
}

func TestCloseBesideRead(t *testing.T) {
	for name, start := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, payload)
			r := &transport.Reuse{Base: base(t, srv, 1), DrainTime: 5 * time.Millisecond}
			for range 5 {
				resp := get(t, r, srv.URL+"/?n=10&chunked&stall")
				var wg sync.WaitGroup
				wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
				for range 3 {
					wg.Go(func() { _ = resp.Body.Close() })
				}
				wg.Wait()
			}
		})
	}
}

// Close while another goroutine reads ends that Read instead of joining it.
func TestCloseEndsARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: base(t, srv, 1)}
		resp := get(t, r, srv.URL+"/?n=10&chunked&stall")
		ended := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, resp.Body)
			ended <- err
		}()
		synctest.Wait() // it waits for more
		start := time.Now()
		require.NoError(t, resp.Body.Close())
		require.Error(t, <-ended)
		require.Zero(t, time.Since(start))
		require.EqualValues(t, 1, r.Stats().Abandoned)
	})
}

func TestBodyErrors(t *testing.T) {
	broken, unclosed := errors.New("read broke"), errors.New("close broke")
	inner := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader("abc"), failing{broken}), failing{unclosed}}
	r := &transport.Reuse{Base: answering(inner)}

	resp := get(t, r, "http://fake.test")
	got, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, broken)
	require.Equal(t, "abc", string(got))
	require.ErrorIs(t, resp.Body.Close(), unclosed)
	require.Zero(t, r.Stats().Abandoned, "nobody could have drained it")

	inner.Reader = failing{broken}
	r = &transport.Reuse{Base: answering(inner)}
	require.ErrorIs(t, get(t, r, "http://fake.test").Body.Close(), unclosed)
	require.EqualValues(t, 1, r.Stats().Abandoned)
}

// failing fails to read and to close.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (f failing) Close() error             { return f.err }

// A Base may have bodies that do not honour the request's context: those end by
// Close, and one that yields nothing for ever ends as well.
func TestForeignBodiesAreBounded(t *testing.T) {
	for name, body := range map[string]func() io.ReadCloser{
		"waits for Close":   func() io.ReadCloser { r, _ := io.Pipe(); return r },
		"yields nothing":    func() io.ReadCloser { return &idleBody{} },
		"yields for ever":   func() io.ReadCloser { return &countingBody{} },
		"fails like cancel": func() io.ReadCloser { return io.NopCloser(failing{context.Canceled}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				resp := get(t, &transport.Reuse{Base: answering(body())}, "http://fake.test")
				start := time.Now()
				require.NoError(t, resp.Body.Close())
				require.LessOrEqual(t, time.Since(start), 100*time.Millisecond, "2x DrainTime")
			})
		})
	}
}

// idleBody has neither bytes nor an end.
type idleBody struct{}

func (*idleBody) Read([]byte) (int, error) {
	time.Sleep(time.Millisecond)
	return 0, nil
}
func (*idleBody) Close() error { return nil }

func TestBadAnswers(t *testing.T) {
	t.Run("nothing", func(t *testing.T) {
		r := &transport.Reuse{Base: roundTrip(func(*http.Request) (*http.Response, error) { return nil, nil })}
		_, err := r.RoundTrip(newRequest(t, "http://fake.test")) //nolint:bodyclose // there is none
		require.ErrorContains(t, err, "neither an answer nor an error")
		require.EqualValues(t, 1, r.Stats().Failed)
	})
	t.Run("both", func(t *testing.T) {
		inner, failed := &countingBody{}, errors.New("failed")
		r := &transport.Reuse{Base: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{Body: inner}, failed
		})}
		resp, err := r.RoundTrip(newRequest(t, "http://fake.test"))
		require.Same(t, failed, err)
		require.Nil(t, resp)
		require.Equal(t, 1, inner.closed)
	})
	t.Run("both, without a body", func(t *testing.T) {
		r := &transport.Reuse{Base: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{}, io.ErrUnexpectedEOF
		})}
		_, err := r.RoundTrip(newRequest(t, "http://fake.test")) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
	t.Run("nil body", func(t *testing.T) {
		r := &transport.Reuse{Base: answering(nil)}
		resp, err := r.RoundTrip(newRequest(t, "http://fake.test")) //nolint:bodyclose // there is none
		require.NoError(t, err)
		require.Nil(t, resp.Body)
	})
	t.Run("NoBody", func(t *testing.T) {
		r := &transport.Reuse{Base: answering(http.NoBody)}
		resp, err := r.RoundTrip(newRequest(t, "http://fake.test"))
		require.NoError(t, err)
		require.Equal(t, http.NoBody, resp.Body)
	})
	t.Run("bad requests", func(t *testing.T) {
		r := &transport.Reuse{}
		_, err := r.RoundTrip(&http.Request{}) //nolint:bodyclose // there is none
		require.Error(t, err)
		_, err = r.RoundTrip(&http.Request{URL: mustParse(t, "http://fake.test")}) //nolint:bodyclose // there is none
		require.Error(t, err)
	})
}

func newRequest(t testing.TB, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	return req
}

// The request is the caller's: it is not changed, and the answer points to it.
func TestRequestIsTheCallers(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	r := &transport.Reuse{Base: base(t, srv, 1), Timeout: time.Minute, ColdStart: true, MaxConnAge: time.Nanosecond}
	for range 3 { // the later ones retire
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/?n=3", io.MultiReader(strings.NewReader("abc")))
		require.NoError(t, err)
		header := req.Header.Clone()
		body := req.Body
		resp, err := r.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Same(t, req, resp.Request)
		require.Equal(t, header, req.Header)
		require.Equal(t, body, req.Body)
		require.Nil(t, req.GetBody)
		require.Equal(t, t.Context(), req.Context())
	}
	require.NotZero(t, r.Stats().Retired)
}

// The context that Base sees lives as long as the exchange and no longer, and has
// the values of the caller's.
func TestContextOfBase(t *testing.T) {
	type key struct{}
	var seen context.Context
	r := &transport.Reuse{Base: roundTrip(func(req *http.Request) (*http.Response, error) {
		seen = req.Context()
		return answering(io.NopCloser(strings.NewReader("abc")))(req)
	})}
	deadline := time.Now().Add(time.Hour)
	for name, parent := range map[string]func() (context.Context, context.CancelFunc){
		"plain":       func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
		"cancellable": func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) },
		"deadline":    func() (context.Context, context.CancelFunc) { return context.WithDeadline(t.Context(), deadline) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := parent()
			defer cancel()
			ctx = context.WithValue(ctx, key{}, "value")
			resp, err := r.RoundTrip(newRequest(t, "http://fake.test").WithContext(ctx))
			require.NoError(t, err)
			require.Equal(t, "value", seen.Value(key{}))
			got, ok := seen.Deadline()
			want, has := ctx.Deadline()
			require.Equal(t, has, ok)
			require.Equal(t, want, got)
			require.NoError(t, seen.Err())
			child, stop := context.WithCancel(seen)
			defer stop()
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.ErrorIs(t, seen.Err(), context.Canceled)
			<-seen.Done()
			<-child.Done()
			require.NoError(t, resp.Body.Close())
		})
	}
	t.Run("parent first", func(t *testing.T) {
		ctx, cancel := newContext(t)
		resp, err := r.RoundTrip(newRequest(t, "http://fake.test").WithContext(ctx))
		require.NoError(t, err)
		done := seen.Done()
		cancel()
		<-done
		require.ErrorIs(t, seen.Err(), context.Canceled)
		require.NoError(t, resp.Body.Close())
	})
}

func TestUnwrapAndIdle(t *testing.T) {
	r := &transport.Reuse{}
	tr, ok := r.Unwrap().(*http.Transport)
	require.True(t, ok)
	require.Equal(t, 100, tr.MaxIdleConnsPerHost)
	require.Same(t, tr, r.Unwrap())
	other := transport.New(1)
	require.Same(t, other, (&transport.Reuse{Base: other}).Unwrap())

	srv := transporttest.NewServer(t, payload)
	r = &transport.Reuse{Base: base(t, srv, 1)}
	readAll(t, r, srv.URL+"/?n=1")
	(&http.Client{Transport: r}).CloseIdleConnections()
	readAll(t, r, srv.URL+"/?n=1")
	require.Equal(t, 2, srv.Conns())
	(&transport.Reuse{Base: roundTrip(nil)}).CloseIdleConnections() // cannot, and need not
}
