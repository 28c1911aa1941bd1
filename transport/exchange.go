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
	aging *aging // nil without MaxConnAge

	connecting bool // the gate's
}

func newExchange(r *Reuse, h *host, req *http.Request) *exchange {
	x := &exchange{reuse: r, host: h, orig: req}
	x.scope.parent = req.Context()
	if r.own {
		x.scope.endings = &r.endings
	}
	switch {
	case r.MaxConnAge > 0:
		x.scope.parent = httptrace.WithClientTrace(x.scope.parent, x.hooks())
	case httptrace.ContextClientTrace(x.scope.parent) == nil:
		x.scope.trace = h.trace
	default: // both sets of hooks have to run
		x.scope.parent = httptrace.WithClientTrace(x.scope.parent, h.hooks())
	}
	x.req = *req.WithContext(&x.scope)
	return x
}

// hooks are those of an exchange that may end its connection.
func (x *exchange) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: x.gotConn, WroteHeaders: x.wroteHeaders}
}

func (x *exchange) wroteHeaders() {
	x.reuse.ages.settle(x.aging)
	if x.host.gate != nil {
		x.host.gate.wrote()
		x.host.gate.over(x, false)
	}
}

func (x *exchange) roundTrip() (*http.Response, error) {
	r := x.reuse
	if r.Timeout > 0 {
		x.scope.endIn(r.Timeout)
	}
	if x.host.gate != nil {
		if err := x.host.gate.enter(x); err != nil {
			if x.req.Body != nil {
				_ = x.req.Body.Close()
			}
			return nil, x.fail(err)
		}
	}
	if r.MaxConnAge > 0 {
		x.startAging()
		defer x.stopAging()
	}
	resp, err := r.base.RoundTrip(&x.req)
	switch {
	case err == nil && resp == nil:
		err = fmt.Errorf("transport: Base (%T) returned neither an answer nor an error", r.base)
	case err == nil && r.MaxConnAge > 0 && !r.own && !r.reported.Load():
		err = r.errUnreported()
	}
	if err != nil {
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close()
		}
		return nil, x.fail(err)
	}
	return x.accept(resp), nil
}

// accept makes resp the caller's.
func (x *exchange) accept(resp *http.Response) *http.Response {
	if resp.Request == nil || resp.Request == &x.req {
		resp.Request = x.orig
	}
	if x.host.gate != nil {
		x.host.gate.over(x, false)
		x.host.gate.answered(resp.ProtoMajor)
	}
	_, writable := resp.Body.(io.Writer)
	switch {
	case writable || resp.StatusCode == http.StatusSwitchingProtocols:
		x.handOver(resp)
	case resp.Body == nil || resp.Body == http.NoBody && !x.uploading(resp):
		x.over(resp)
	default:
		x.body.init(x, resp)
		if x.reuse.OnLeak != nil {
			return x.watch(resp)
		}
		resp.Body = &x.body
	}
	return resp
}

// handOver makes the connection the caller's, for as long as it likes: Timeout no
// longer counts, and net/http does not heed the context of an upgraded one.
func (x *exchange) handOver(resp *http.Response) {
	if x.reuse.own && resp.StatusCode == http.StatusSwitchingProtocols {
		x.scope.finish(true)
		return
	}
	x.scope.disarm()
}

// over frees what an exchange holds once its answer was read to the end.
func (x *exchange) over(resp *http.Response) {
	if x.uploading(resp) {
		x.scope.disarm()
		return
	}
	x.scope.finish(true)
}

// uploading reports whether the request's body may still be on its way although
// the answer is here. Its context is then needed until the answer is closed, even
// one without a body.
func (x *exchange) uploading(resp *http.Response) bool {
	return resp.ProtoMajor >= 2 && x.orig.Body != nil && x.orig.Body != http.NoBody
}

// fail frees what an exchange holds that has no answer. It says of the error
// whether it was Timeout which caused it.
func (x *exchange) fail(err error) error {
	err = x.explain(err)
	if x.host.gate != nil {
		x.host.gate.over(x, x.scope.Err() == nil) // who gave up says nothing about the host
	}
	x.scope.end(context.Canceled)
	return err
}

func (x *exchange) explain(err error) error {
	if x.scope.timedOut() {
		return &timeoutError{limit: x.reuse.Timeout, err: err}
	}
	return err
}
