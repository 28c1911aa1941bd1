package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"runtime"
	"sync"
	"time"
	"weak"
)

// jitter is the share of MaxConnAge that is random, if Jitter does not say.
const jitter = 0.25

// maxAges bounds what is remembered of connections whose end nobody tells.
const maxAges = 1 << 14

// ages remembers when each connection is old enough.
//
// A connection is known by a weak pointer and forgotten when it is collected, if
// it is of net's or tls's own type, as nearly all are. Others are known by their
// address, which may come to stand for a later connection: that one is then shown
// as not reused and starts anew.
type ages struct {
	mu  sync.Mutex // guards the field below
	due map[any]*age
}

// An age is one connection's.
type age struct {
	due     time.Time
	retired bool // counted
	ending  bool // a request is about to end it
}

// of returns the age of a connection, which begins at the first sight with nil.
func (a *ages) of(conn net.Conn, fresh bool, life func() time.Duration) *age {
	a.mu.Lock()
	defer a.mu.Unlock()
	key, collected := identify(conn)
	if known := a.due[key]; known != nil && !fresh {
		return known
	}
	if a.due == nil {
		a.due = make(map[any]*age)
	}
	if len(a.due) >= maxAges {
		for other := range a.due {
			delete(a.due, other) // an old connection may live once more as long
			break
		}
	}
	a.due[key] = &age{due: time.Now().Add(life())}
	if collected != nil {
		collected(a.forget)
	}
	return nil
}

func (a *ages) forget(key any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.due, key)
}

// retire reports whether the exchange is to end a connection, and whether it is
// the first to.
func (a *ages) retire(g *age, by *aging) (end, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g == nil || g.ending || time.Now().Before(g.due) {
		return false, false
	}
	first = !g.retired
	g.ending, g.retired = true, true
	by.ending = g
	return true, first
}

// settle is called when the exchange is on the connection that it ends, or never
// will be. If a server keeps the connection, the next request tries again.
func (a *ages) settle(by *aging) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if by.ending != nil {
		by.ending.ending = false
		by.ending = nil
	}
}

// identify returns what stands for a connection and, if there is a way, a
// function that arranges to be told when it is collected.
func identify(conn net.Conn) (key any, collected func(forget func(any))) {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return weakly(conn)
	case *tls.Conn:
		return weakly(conn)
	case *net.UnixConn:
		return weakly(conn)
	}
	if v := reflect.ValueOf(conn); v.Kind() == reflect.Pointer {
		return v.Pointer(), nil
	}
	return fmt.Sprint(conn.LocalAddr(), " ", conn.RemoteAddr()), nil
}

func weakly[T any](conn *T) (any, func(func(any))) {
	var key any = weak.Make(conn)
	return key, func(forget func(any)) { runtime.AddCleanup(conn, forget, key) }
}

// aging is what MaxConnAge adds to an exchange.
type aging struct {
	upload *upload
	ending *age // of the connection that the request ends; guarded by ages.mu
}

// startAging gives the request hooks of its own, a header of its own for the hook
// to write to, and a body that can be sent again as long as nothing was read.
func (x *exchange) startAging() {
	x.aging = new(aging)
	x.req.Header = maps.Clone(x.req.Header)
	if body := x.req.Body; body != nil && body != http.NoBody && x.req.GetBody == nil {
		x.aging.upload = newUpload(body)
		x.req.Body, _ = x.aging.upload.again()
		x.req.GetBody = x.aging.upload.again
	}
}

func (x *exchange) stopAging() {
	x.reuse.ages.settle(x.aging)
	if x.aging.upload != nil {
		x.aging.upload.finish()
	}
}

// mayClose reports whether the request can ask for the end of its connection.
func mayClose(req *http.Request) bool {
	_, connection := req.Header["Connection"]
	_, upgrade := req.Header["Upgrade"]
	return !connection && !upgrade && !req.Close && req.Method != http.MethodConnect && req.Header != nil
}

// gotConn is the hook of one exchange. It runs on the goroutine that sends the
// request, before the header is read, and again if the request is sent again.
func (x *exchange) gotConn(info httptrace.GotConnInfo) {
	x.host.gotConn(info)
	x.reuse.reported.Store(true)
	if !mayClose(x.orig) {
		return
	}
	a := &x.reuse.ages
	a.settle(x.aging)
	delete(x.req.Header, "Connection")
	end, first := a.retire(a.of(info.Conn, !info.Reused, x.reuse.life), x.aging)
	if !end {
		return
	}
	if first {
		x.host.retired.Add(1)
	}
	if x.host.gate != nil {
		x.host.gate.retire(x)
	}
	x.req.Header["Connection"] = []string{"close"}
}

// life draws how long a connection may live.
func (r *Reuse) life() time.Duration {
	share := r.Jitter
	switch {
	case share == 0 || math.IsNaN(share):
		share = jitter
	case share < 0:
		return r.MaxConnAge
	}
	shorter := float64(r.MaxConnAge) * min(share, 1) * rand.Float64()
	return max(r.MaxConnAge-time.Duration(shorter), 1)
}

// errUnreported says that MaxConnAge cannot work.
func (r *Reuse) errUnreported() error {
	return fmt.Errorf("transport: MaxConnAge needs a Base that reports its connections to net/http/httptrace, as *http.Transport does; %T did not", r.base)
}

// An upload is a request's body that can be sent again as long as nothing of it
// was read. net/http closes the body of a request that it could not send on a
// connection that another request had just closed to newcomers, and then finds
// that it "cannot rewind body after connection loss".
type upload struct {
	rc io.ReadCloser

	mu   sync.Mutex // guards the fields below
	read bool
	over bool // it is not sent again
	last *attempt
	done bool // rc is closed
}

func newUpload(rc io.ReadCloser) *upload { return &upload{rc: rc} }

var errRead = errors.New("transport: request body was read and cannot be sent again; define GetBody")

// again is the request's GetBody.
func (u *upload) again() (io.ReadCloser, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.read || u.done {
		return nil, errRead
	}
	u.last = &attempt{u: u}
	return u.last, nil
}

// finish says that the request is not sent again.
func (u *upload) finish() {
	u.mu.Lock()
	u.over = true
	mine := u.last.closed && u.closeLocked()
	u.mu.Unlock()
	if mine {
		_ = u.rc.Close()
	}
}

// closeLocked reports whether the caller is the one to close the body.
func (u *upload) closeLocked() bool {
	first := !u.done
	u.done = true
	return first
}

// An attempt is the body as one attempt to send it sees it.
type attempt struct {
	u      *upload
	closed bool // guarded by u.mu
}

func (a *attempt) Read(p []byte) (int, error) {
	a.u.mu.Lock()
	stale := a.closed || a.u.last != a
	if !stale {
		a.u.read = true
	}
	a.u.mu.Unlock()
	if stale {
		return 0, http.ErrBodyReadAfterClose
	}
	return a.u.rc.Read(p)
}

func (a *attempt) Close() error {
	u := a.u
	u.mu.Lock()
	a.closed = true
	mine := u.last == a && (u.read || u.over) && u.closeLocked()
	u.mu.Unlock()
	if mine {
		return u.rc.Close()
	}
	return nil
}
