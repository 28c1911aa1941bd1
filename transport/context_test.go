package transport_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// A counting context knows how many wait for its end.
type counting struct {
	context.Context
	mu      sync.Mutex
	waiting int
}

func (c *counting) AfterFunc(f func()) func() bool {
	c.add(1)
	stop := context.AfterFunc(c.Context, f)
	return func() bool {
		ok := stop()
		if ok {
			c.add(-1)
		}
		return ok
	}
}

func (c *counting) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting += n
}

func (c *counting) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting
}

// Value hides the context inside, to which package context would link past AfterFunc.
func (c *counting) Value(any) any { return nil }

// A context that outlives its requests holds nothing of them.
func TestContextsAreLeftAlone(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	for _, limit := range []time.Duration{0, time.Minute} {
		r := &transport.Reuse{Base: base(t, srv, 1), DrainBytes: 100, Timeout: limit, Silence: limit}
		ctx := &counting{Context: t.Context()}
		for range 10 {
			for _, query := range []string{"/?n=10", "/?n=1000", "/?n=1000&chunked", "/none?n=0"} {
				read(t, r, newRequest(t, srv.URL+query).WithContext(ctx), make([]byte, 2000))
				unread(t, r, newRequest(t, srv.URL+query).WithContext(ctx), nil)
			}
			_, err := r.RoundTrip(newRequest(t, "http://127.0.0.1:1").WithContext(ctx))
			require.Error(t, err)
		}
		require.Eventually(t, func() bool { return ctx.left() == 0 }, 10*time.Second, time.Millisecond)
	}
}

// Nor an upload whose answer has no body: over HTTP/2 that may come first.
func TestUploadsWithoutAnAnswersBodyLeaveTheirContext(t *testing.T) {
	for name, newServer := range protocols {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusNoContent)
			}))
			r := &transport.Reuse{Base: base(t, srv, 1)}
			ctx := &counting{Context: t.Context()}
			for range 10 {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, strings.NewReader("upload"))
				require.NoError(t, err)
				unread(t, r, req, nil)
			}
			require.Eventually(t, func() bool { return ctx.left() == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

// Nor a connection that was upgraded, however long its context lives on.
func TestUpgradesLeaveTheirContext(t *testing.T) {
	srv := transporttest.NewServer(t, http.HandlerFunc(echo))
	r := &transport.Reuse{Base: base(t, srv, 1)}
	ctx := &counting{Context: t.Context()}
	for range 10 {
		req := newRequest(t, srv.URL).WithContext(ctx)
		req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
		resp, err := r.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		require.Eventually(t, func() bool { return ctx.left() == 0 }, 10*time.Second, time.Millisecond)
		require.NoError(t, resp.Body.Close())
	}
}

// A request ends with its own context, whatever became of those before it.
func TestContextsEndTheirOwnRequests(t *testing.T) {
	waiting := make(chan struct{})
	srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/wait" {
			waiting <- struct{}{}
			<-waiting
		}
		payload(w, req)
	}))
	r := &transport.Reuse{Base: base(t, srv, 1)}
	request := func(ctx context.Context, path string) *http.Request {
		return newRequest(t, srv.URL+path+"?n=10").WithContext(ctx)
	}
	for range 3 {
		a, endA := context.WithCancel(t.Context())
		for range 3 {
			read(t, r, request(a, "/"), make([]byte, 20))
		}
		b, endB := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
		done := make(chan struct{})
		go func() {
			defer close(done)
			read(t, r, request(b, "/wait"), make([]byte, 20))
		}()
		<-waiting
		endA()
		requests := srv.Requests()
		_, err := r.RoundTrip(request(a, "/"))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, requests, srv.Requests(), "sent though its context had ended")
		waiting <- struct{}{}
		<-done

		for range 3 {
			read(t, r, request(b, "/"), make([]byte, 20))
		}
		failed := make(chan error)
		go func() {
			_, err := r.RoundTrip(request(b, "/wait"))
			failed <- err
		}()
		<-waiting
		endB()
		require.ErrorIs(t, <-failed, context.Canceled)
		waiting <- struct{}{}
	}
}

// Whatever the context ended with is the error.
func TestNothingIsSentForAnEndedContext(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	r := &transport.Reuse{Base: base(t, srv, 1)}
	request := newRequest(t, srv.URL+"/?n=10")
	for i := range 100 {
		ctx, end := context.WithCancelCause(t.Context())
		for range i % 4 {
			read(t, r, request.WithContext(ctx), make([]byte, 20))
		}
		sent := srv.Requests()
		end(http.ErrServerClosed)
		_, err := r.RoundTrip(request.WithContext(ctx))
		require.ErrorIs(t, err, http.ErrServerClosed)
		require.Equal(t, sent, srv.Requests())
	}
}
