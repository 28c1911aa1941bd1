package transport

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"sync/atomic"
	"time"
)

// limit returns the context of the exchange. It can be ended by cancel, unless Base
// is an *http.Transport and there is no limit: then closing the connection does it.
func (x *exchange) limit(ctx context.Context) context.Context {
	r := x.reuse
	upgrade := r.Timeout > 0 && x.orig.Header["Upgrade"] != nil // the connection may outlive Timeout
	switch {
	case r.Timeout > 0 && !upgrade:
		ctx, x.cancel = context.WithTimeout(ctx, r.Timeout)
	case !r.own || upgrade || r.Silence > 0:
		ctx, x.cancel = context.WithCancel(ctx)
	}
	if r.Silence <= 0 && !upgrade {
		return ctx
	}
	t := &timers{cancel: x.cancel}
	x.timers = t
	if upgrade {
		t.timeout = time.AfterFunc(r.Timeout, func() { t.end(noEnd, r.Timeout) })
	}
	if r.Silence > 0 {
		t.limit = r.Silence
		t.waiting.Store(true)
		t.silence = time.AfterFunc(r.Silence, t.silent)
	}
	return ctx
}

const (
	noEnd  = "no end within"
	noByte = "no byte of the answer for"
)

// explain says of an error whether Timeout or Silence caused it.
func (x *exchange) explain(err error) error {
	if t := x.timers; t != nil {
		if reason := t.reason.Load(); reason != nil {
			return &timeoutError{what: reason.what, limit: reason.limit, err: err}
		}
	}
	if x.reuse.Timeout > 0 && x.req.Context().Err() == context.DeadlineExceeded && x.orig.Context().Err() == nil {
		return &timeoutError{what: noEnd, limit: x.reuse.Timeout, err: err}
	}
	return err
}

// timers end an exchange where a context with a deadline is not enough. The methods
// of nil do nothing.
type timers struct {
	cancel  context.CancelFunc // of the exchange
	reason  atomic.Pointer[timeoutError]
	timeout *time.Timer // nil unless the connection may outlive Timeout

	limit   time.Duration // Silence
	silence *time.Timer   // nil without Silence
	waiting atomic.Bool   // for a byte of the answer
}

func (t *timers) silent() {
	if t.waiting.Load() {
		t.end(noByte, t.limit)
	}
}

func (t *timers) end(what string, limit time.Duration) {
	t.reason.CompareAndSwap(nil, &timeoutError{what: what, limit: limit})
	t.cancel()
}

// wait begins to wait for bytes of the answer.
func (t *timers) wait() {
	if t == nil || t.silence == nil {
		return
	}
	t.waiting.Store(true)
	t.silence.Reset(t.limit)
}

// extend waits as long once more, if it waits.
func (t *timers) extend() {
	if t != nil && t.silence != nil && t.waiting.Load() {
		t.silence.Reset(t.limit)
	}
}

// pause ends waiting: it is the caller's turn.
func (t *timers) pause() {
	if t != nil && t.silence != nil {
		t.waiting.Store(false)
		t.silence.Stop()
	}
}

// stop ends everything.
func (t *timers) stop() {
	if t == nil {
		return
	}
	t.pause()
	if t.timeout != nil {
		t.timeout.Stop()
	}
}

// heardMore is a hook, for each answer of status 1xx.
func (x *exchange) heardMore(int, textproto.MIMEHeader) error {
	x.heard()
	return nil
}

// watchUpload sees to it that a request's body which goes on to be sent is not
// taken for silence.
func (x *exchange) watchUpload() {
	body, again := x.req.Body, x.req.GetBody
	if body == nil || body == http.NoBody {
		return
	}
	x.req.Body = &watchedUpload{body, x}
	if again != nil {
		x.req.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			if err != nil {
				return nil, err
			}
			return &watchedUpload{body, x}, nil
		}
	}
}

// A watchedUpload is a request's body whose progress counts as a sign of life.
type watchedUpload struct {
	io.ReadCloser
	x *exchange
}

func (u *watchedUpload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if !u.x.answered.Load() {
		u.x.timers.extend()
	}
	return n, err
}

// A timeoutError says that a timer ended an exchange, and which error followed.
type timeoutError struct {
	what  string
	limit time.Duration
	err   error
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("transport: %s %v: %v", e.what, e.limit, e.err)
}

// Timeout and Temporary make it a net.Error.
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }
func (e *timeoutError) Unwrap() []error { return []error{context.DeadlineExceeded, e.err} }
