package transport

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Reuse is an http.RoundTripper that makes resp.Body.Close enough to keep the
// connection: the rest of a body is read before it is closed, if that is
// cheaper than a new connection. The zero value is ready. A Reuse must not be
// copied, nor its fields changed after the first use; its methods may be called
// from any number of goroutines.
//
// A peer that vanishes without a word costs one request, however many connections
// to it are idle: after a request on a used connection has ended by a time-out,
// without a byte of an answer, the connections to its host that have been silent for
// as long are not used again. A host that has answered any other request meanwhile is
// slow and not dead, and loses none. At most once a second that costs new
// connections, and never those to other hosts. It needs a time-out, of any kind, and
// a Base that reports its connections to net/http/httptrace; hosts that Hosts calls
// other are left out. An HTTP/2 connection with other requests in flight gets one more
// request, in case it is only slow, and is then left to those.
//
//	client := &http.Client{Transport: &transport.Reuse{}}
type Reuse struct {
	// Base sends the requests. Nil means New(100), made at the first use.
	// Base must honour the context of a request, as *http.Transport does: giving
	// up a stalled body and Timeout end it. Stats
	// learns of connections through net/http/httptrace.
	Base http.RoundTripper

	// DrainBytes is how much of an HTTP/1 body Close reads so that the connection
	// can be used again. A body with more left, where its length is known, is
	// closed at once. Zero means 256 KiB: as much as net/http's server and, from
	// Go 1.27 on, its client read, and below the break-even of 512 KiB (with TLS
	// 1 MiB) measured on a loopback interface. Negative means nothing is read.
	DrainBytes int64

	// DrainTime is how long Close reads at most. Zero means 50ms, as in Go 1.27.
	// Negative means nothing is read.
	DrainTime time.Duration

	// MaxConnAge is how old a connection may become. One that is older is retired
	// by its next request, which asks the server for its end ("Connection: close";
	// over HTTP/2 the requests in flight on it go on): no request fails, and none
	// has to wait for it. So connections follow a changed DNS answer, and spread
	// over the servers behind a load balancer. The age counts from the first
	// request. A request that has a Connection or Upgrade header retires nothing.
	// If Base sends a copy of the request, as many do that add to its header, the
	// connection is closed before the next but one is sent on it.
	// Base must report its connections to net/http/httptrace: if it did not, the
	// first RoundTrip fails. Zero or negative means no limit.
	MaxConnAge time.Duration

	// Jitter is the share of MaxConnAge that is random, so that connections that
	// were opened together are not retired together: an age is drawn from
	// (MaxConnAge*(1-Jitter), MaxConnAge] for each. Zero means 0.25, negative none,
	// more than 1 counts as 1.
	Jitter float64

	// ColdStart lets one request open the connection to a host that has none,
	// while others wait for it: over HTTP/2, 64 first requests open one connection
	// and not 64. A request waits for 300ms at most, and not at all once a host is
	// known to speak HTTP/1, where each needs a connection of its own, nor for the
	// hosts that Hosts calls other.
	ColdStart bool

	// Silence ends an exchange when no byte of the answer has come for so long:
	// before its header, the wait for a connection included, or while the body is
	// being read. A request's body that goes on to be sent is no silence, and neither
	// is a caller that takes its time between two reads. The error is a net.Error as
	// that of Timeout. Zero or negative means no limit.
	Silence time.Duration

	// Timeout ends the whole exchange, the body included, like
	// http.Client.Timeout, which on a transport that is wrapped costs a request two
	// goroutines and 15 allocations more. It is counted for each request, so for each
	// redirect anew. The error is a net.Error whose Timeout method reports true, and Is
	// context.DeadlineExceeded. The wait for ColdStart counts. A connection that was
	// upgraded (status 101) outlives it. Zero or negative means no limit.
	Timeout time.Duration

	// OnLeak is called for a body that became unreachable before it was read to
	// its end or closed, after a garbage collection found out. The body is closed,
	// which frees its connection: a leak costs a report, where it otherwise costs a
	// connection and its goroutines for ever. OnLeak runs on a goroutine of its own,
	// perhaps several at once. It is no guarantee: the next collection may be far
	// away, and a body that is still referenced is not found. With OnLeak
	// each request costs a few allocations and a stack trace; nil costs nothing and
	// reports nothing. Not for testing/synctest: the collector is outside the bubble.
	OnLeak func(Leak)

	once     sync.Once
	base     http.RoundTripper // Base, or its stand-in
	own      bool              // base is an *http.Transport, whose use of contexts is known
	hosts    hosts
	conns    conns
	drainers sync.Pool // of *drainer

	reported atomic.Bool // base has told of a connection, for MaxConnAge
}

var _ http.RoundTripper = (*Reuse)(nil)

func (r *Reuse) setup() {
	r.base = r.Base
	if r.base == nil {
		r.base = New(100)
	}
	_, r.own = r.base.(*http.Transport)
}

// RoundTrip sends req through Base and returns its answer. Base sees a copy of
// req; the answer's Body is replaced, unless there is none or it can be written
// to, as after an upgrade. If Base returns both an answer and an error, the
// answer is closed; if it returns neither, that is an error.
func (r *Reuse) RoundTrip(req *http.Request) (*http.Response, error) {
	r.once.Do(r.setup)
	host := r.hosts.of(req, r.ColdStart)
	host.requests.Add(1)
	x := newExchange(r, host, req)
	resp, err := x.roundTrip()
	if err != nil {
		host.failed.Add(1)
		return nil, err
	}
	return resp, nil
}

// CloseIdleConnections closes the idle connections of Base, if it can.
func (r *Reuse) CloseIdleConnections() {
	r.once.Do(r.setup)
	if base, ok := r.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// Unwrap returns Base, or the transport that stands in for a nil one.
func (r *Reuse) Unwrap() http.RoundTripper {
	r.once.Do(r.setup)
	return r.base
}

func (r *Reuse) drainBytes() int64 {
	switch {
	case r.DrainTime < 0 || r.DrainBytes < 0:
		return -1
	case r.DrainBytes == 0:
		return drainBytes
	}
	return r.DrainBytes
}

func (r *Reuse) drainTime() time.Duration {
	if r.DrainTime == 0 {
		return drainTime
	}
	return r.DrainTime
}
