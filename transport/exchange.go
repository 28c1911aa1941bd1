package transport

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
)

// An exchange is one request and its answer: the copy of the request that Base
// sees, the context it runs in and the body that the caller reads. They are one
// allocation, the only one that Reuse adds to a plain request.
type exchange struct {
	reuse *Reuse
	host  *host
	orig  *http.Request
	req   http.Request
	scope scope
	body  body
}

func newExchange(r *Reuse, h *host, req *http.Request) *exchange {
	x := &exchange{reuse: r, host: h, orig: req}
	x.scope.parent = req.Context()
	x.scope.idle = &r.idle
	if httptrace.ContextClientTrace(x.scope.parent) == nil {
		x.scope.trace = h.trace
	} else { // both sets of hooks have to run
		x.scope.parent = httptrace.WithClientTrace(x.scope.parent, h.hooks())
	}
	x.req = *req.WithContext(&x.scope)
	return x
}

func (x *exchange) roundTrip() (*http.Response, error) {
	if x.reuse.Timeout > 0 {
		x.scope.endIn(x.reuse.Timeout)
	}
	resp, err := x.reuse.base.RoundTrip(&x.req)
	switch {
	case err != nil && resp != nil && resp.Body != nil:
		_ = resp.Body.Close()
	case err == nil && resp == nil:
		err = fmt.Errorf("transport: Base (%T) returned neither an answer nor an error", x.reuse.base)
	}
	if err != nil {
		err = x.explain(err)
		x.scope.end(context.Canceled)
		return nil, err
	}
	x.accept(resp)
	return resp, nil
}

// accept makes resp the caller's.
func (x *exchange) accept(resp *http.Response) {
	if resp.Request == nil || resp.Request == &x.req {
		resp.Request = x.orig
	}
	_, writable := resp.Body.(io.Writer)
	switch {
	case writable || resp.StatusCode == http.StatusSwitchingProtocols:
		x.scope.disarm() // the caller's connection now, for as long as it likes
	case resp.Body == nil || resp.Body == http.NoBody:
		x.over(resp)
	default:
		x.body.init(x, resp)
		resp.Body = &x.body
	}
}

// over frees what an exchange holds once its answer was read to the end.
func (x *exchange) over(resp *http.Response) {
	switch {
	case resp.ProtoMajor < 2:
		x.scope.finish(x.reuse.own)
	case x.orig.Body == nil || x.orig.Body == http.NoBody:
		x.scope.finish(false)
	default: // HTTP/2 may still be sending the request's body
		x.scope.disarm()
	}
}

// explain says of an error that it was Timeout which caused it.
func (x *exchange) explain(err error) error {
	if x.scope.timedOut() {
		return &timeoutError{limit: x.reuse.Timeout, err: err}
	}
	return err
}
