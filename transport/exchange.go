package transport

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// An exchange is one request and its answer: the copy of the request that Base
// sees, its context, the connection that carries it and the body that the caller
// reads.
type exchange struct {
	reuse  *Reuse
	host   *host
	orig   *http.Request
	req    http.Request
	cancel context.CancelFunc // ends the context of req; nil if there is no need to
	hooks  httptrace.ClientTrace
	timers *timers // nil if a context is enough
	body   body
	upload *upload // nil if the request's body need not be sent again

	// Base may send the request several times; these are of the attempt under way.
	armed    bool                 // it may end its connection: the header is a copy, the body can be sent again
	dropped  atomic.Bool          // its connection was closed before anything was written to it
	conn     atomic.Pointer[conn] // carries the request; nil if unknown
	reused   atomic.Bool          // conn had carried a request before
	sent     atomic.Uint64        // when the request got conn, by the clock of conns
	answered atomic.Bool          // a byte of the answer has come
	raw      net.Conn             // is conn; for an exchange without cancel
	aborted  atomic.Bool

	retiring   *conn // guarded by conns.mu: this request ends it
	fresh      bool  // guarded by coldStart.mu: conn is new
	connecting bool  // guarded by coldStart.mu: has passed and not written its header
}

func newExchange(r *Reuse, h *host, req *http.Request) *exchange {
	x := &exchange{reuse: r, host: h, orig: req}
	x.hooks.GotConn = x.gotConn
	if h.cold != nil || r.MaxConnAge > 0 {
		x.hooks.WroteHeaders = x.wroteHeaders
	}
	if r.own || r.Silence > 0 { // for others, an answer begins with its whole header, which saves an allocation
		x.hooks.GotFirstResponseByte = x.heard
	}
	if r.Silence > 0 {
		x.hooks.Got1xxResponse = x.heardMore
	}
	ctx := x.limit(httptrace.WithClientTrace(req.Context(), &x.hooks))
	x.req = *req.WithContext(ctx)
	if x.timers != nil {
		x.watchUpload()
	}
	return x
}

func (x *exchange) roundTrip() (*http.Response, error) {
	if x.host.cold != nil {
		if err := x.host.cold.enter(x); err != nil {
			if x.req.Body != nil {
				_ = x.req.Body.Close()
			}
			return nil, x.fail(err)
		}
	}
	defer x.stopSending()
	returned := false
	defer func() {
		if !returned { // Base panicked: other requests must not wait for this one
			_ = x.fail(context.Canceled)
		}
	}()
	resp, err := x.send()
	returned = true
	if err != nil {
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close()
		}
		return nil, x.fail(err)
	}
	x.heard()
	x.timers.pause()
	return x.accept(resp), nil
}

// maxAttempts bounds how many connections a request drops before it takes
// any.
const maxAttempts = 100

// send lets Base send the request, and again if the connection that it got was
// dropped. For HTTP/1, an *http.Transport does that by itself.
func (x *exchange) send() (*http.Response, error) {
	r := x.reuse
	for attempt := 1; ; attempt++ {
		x.arm(attempt < maxAttempts)
		resp, err := r.base.RoundTrip(&x.req)
		switch {
		case err == nil && resp == nil:
			return nil, fmt.Errorf("transport: Base (%T) returned neither an answer nor an error", r.base)
		case err == nil && r.MaxConnAge > 0 && !r.own && !r.reported.Load():
			return resp, r.errUnreported()
		case err == nil || !x.dropped.Load() || !x.rewind():
			return resp, err
		}
	}
}

// arm prepares an attempt that may end its connection, if there can be a reason to.
func (x *exchange) arm(may bool) {
	x.dropped.Store(false)
	x.armed = may && (x.reuse.MaxConnAge > 0 || x.host.suspects())
	if !x.armed {
		return
	}
	x.req.Header = maps.Clone(x.orig.Header) // for gotConn to write to
	if body := x.req.Body; x.upload == nil && body != nil && body != http.NoBody && x.req.GetBody == nil {
		x.upload = newUpload(body)
		x.req.Body, _ = x.upload.again()
		x.req.GetBody = x.upload.again
	}
}

// rewind reports whether the request can be sent again, of which nothing was sent.
func (x *exchange) rewind() bool {
	if x.req.Context().Err() != nil {
		return false
	}
	if x.orig.Body == nil || x.orig.Body == http.NoBody {
		return true
	}
	if x.req.GetBody == nil {
		return false
	}
	body, err := x.req.GetBody()
	x.req.Body = body
	return err == nil
}

func (x *exchange) stopSending() {
	x.reuse.conns.settle(x)
	if x.upload != nil {
		x.upload.finish()
	}
}

// gotConn is a hook. It runs on the goroutine that sends the request, before the
// header is read, and again if the request is sent again.
func (x *exchange) gotConn(info httptrace.GotConnInfo) {
	x.dropped.Store(false)
	closing := x.armed && mayClose(x.orig)
	if closing {
		x.reuse.conns.settle(x)
		delete(x.req.Header, "Connection")
	}
	c, known := x.reuse.conns.find(info.Conn, !info.Reused, x.reuse.life)
	busy := x.ride(c, info.Reused)
	used := x.armed && c != nil && info.Reused
	suspect := used && x.host.isSuspect(c, known, info.IdleTime)
	if (suspect || used && closing && !x.reuse.own && x.reuse.conns.lives(c)) && !busy {
		if suspect {
			x.host.dropped.Add(1)
		}
		x.drop(info.Conn)
		return
	}
	x.host.gotConn(info)
	if x.host.cold != nil {
		x.host.cold.got(x, info)
	}
	if c != nil {
		x.raw = info.Conn
		x.reuse.reported.Store(true)
		if closing && (known || suspect) {
			x.retire(c, suspect)
		}
	}
}

// ride notes the connection that carries the request, and reports whether it
// carries others as well.
func (x *exchange) ride(c *conn, reused bool) (busy bool) {
	x.leave()
	x.reused.Store(reused)
	x.sent.Store(x.reuse.conns.now())
	x.conn.Store(c)
	return c != nil && c.inFlight.Add(1) > 1
}

func (x *exchange) leave() {
	if c := x.conn.Swap(nil); c != nil {
		c.inFlight.Add(-1)
	}
}

func (x *exchange) wroteHeaders() {
	if x.dropped.Load() {
		return
	}
	x.reuse.conns.settle(x)
	if x.host.cold != nil {
		x.host.cold.wrote(x)
		x.host.cold.over(x, false)
	}
}

// heard notes a sign of life of the connection and its host.
func (x *exchange) heard() {
	x.answered.Store(true)
	x.timers.extend()
	now := x.reuse.conns.now()
	x.host.heard.Store(now)
	if c := x.conn.Load(); c != nil {
		c.heard.Store(now)
	}
}

// accept makes resp the caller's.
func (x *exchange) accept(resp *http.Response) *http.Response {
	if resp.Request == nil || resp.Request == &x.req {
		resp.Request = x.orig
	}
	if x.host.cold != nil {
		x.host.cold.over(x, false)
		x.host.cold.answered(resp.ProtoMajor)
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

// handOver makes the connection the caller's, for as long as it likes: no timer
// ends it any more, and net/http does not heed the context of an upgraded one.
func (x *exchange) handOver(resp *http.Response) {
	if x.reuse.own && resp.StatusCode == http.StatusSwitchingProtocols {
		x.finish()
		return
	}
	x.timers.stop()
	x.leave()
}

// over frees the exchange once its answer was read to the end.
func (x *exchange) over(resp *http.Response) {
	if x.uploading(resp) {
		x.timers.stop()
		return
	}
	x.finish()
}

// finish frees the exchange.
func (x *exchange) finish() {
	x.timers.stop()
	if x.cancel != nil {
		x.cancel()
	}
	x.leave()
}

// abort ends the exchange and, if that is HTTP/1, its connection.
func (x *exchange) abort() {
	x.aborted.Store(true)
	switch {
	case x.cancel != nil:
		x.cancel()
	case x.raw != nil:
		shut(x.raw)
	}
}

// uploading reports whether the request's body may still be on its way although
// the answer is here. Its context is then needed until the answer is closed, even
// one without a body.
func (x *exchange) uploading(resp *http.Response) bool {
	return resp.ProtoMajor >= 2 && x.orig.Body != nil && x.orig.Body != http.NoBody
}

// fail frees an exchange that has no answer. It says of the error
// whether a timer caused it.
func (x *exchange) fail(err error) error {
	err = x.explain(err)
	if x.host.cold != nil {
		x.host.cold.over(x, x.req.Context().Err() == nil) // a caller that gave up says nothing about the host
	}
	if x.ranOutOfTime(err) {
		x.host.suspect(x.sent.Load())
	}
	x.finish()
	return err
}
