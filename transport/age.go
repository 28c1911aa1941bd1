package transport

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

// jitter is the share of MaxConnAge that is random, if Jitter does not say.
const jitter = 0.25

// life draws how long a connection may live; 0 stands for ever.
func (r *Reuse) life() time.Duration {
	if r.MaxConnAge <= 0 {
		return 0
	}
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

// mayClose reports whether the request can ask for the end of its connection.
func mayClose(req *http.Request) bool {
	_, connection := req.Header["Connection"]
	_, upgrade := req.Header["Upgrade"]
	return !connection && !upgrade && !req.Close && req.Method != http.MethodConnect && req.Header != nil
}

// retire makes the request the last one on its connection, if that is old enough,
// or suspect.
func (x *exchange) retire(c *conn, suspect bool) {
	end, first := x.reuse.conns.retire(c, x, suspect)
	if !end {
		return
	}
	switch {
	case first && suspect:
		x.host.dropped.Add(1)
	case first:
		x.host.retired.Add(1)
	}
	if x.host.cold != nil {
		x.host.cold.retire(x)
	}
	x.req.Header["Connection"] = closeHeader
}

// closeHeader is the value of a Connection header that ends the connection. It is
// never written to.
var closeHeader = []string{"close"}

// retire reports whether the exchange is to end a connection, and whether it is
// the first to.
func (s *conns) retire(c *conn, by *exchange, anyway bool) (end, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := !c.due.IsZero() && !time.Now().Before(c.due)
	if c.retiring || !due && !anyway {
		return false, false
	}
	first = !c.counted
	c.retiring, c.counted = true, true
	by.retiring = c
	return true, first
}

// lives reports whether a connection is in use that a request has ended: Base sent a copy
// of the header that it got, made before the connection was known, as many do that add
// to a request.
func (s *conns) lives(c *conn) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return c.counted && !c.retiring
}

// settle is called when the exchange is on the connection that it ends, or never
// will be. If a server keeps the connection, the next request tries again.
func (s *conns) settle(x *exchange) {
	if !x.armed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.retiring != nil {
		x.retiring.retiring = false
		x.retiring = nil
	}
}

// errUnreported says that MaxConnAge cannot work.
func (r *Reuse) errUnreported() error {
	return fmt.Errorf("transport: MaxConnAge needs a Base that reports its connections to net/http/httptrace, as *http.Transport does; %T did not", r.base)
}
