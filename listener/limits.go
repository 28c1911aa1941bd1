package listener

import (
	"fmt"
	"math"
	"net"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound the connections that a [Throttled] lets in; the zero value bounds nothing. A limit
// that is zero or negative is off, and +Inf is no rate limit.
type Limits struct {
	// MaxPending is how many connections may be accepted and not yet admitted: by
	// [Admit], by being closed, or after PendingTimeout. It is the limit to begin
	// with, because it measures the server instead of guessing: about twice as many
	// as the server logs in at once keep it busy and no client waits for nothing.
	//
	// If you set it, call [Admit] or one of its kin after each login, and use
	// [ConnState] if not only agents connect to the port.
	MaxPending int

	// PendingTimeout is how long a connection may take to be admitted before its
	// place goes to another; the connection itself is left alone. Zero means 10s,
	// negative for ever.
	PendingTimeout time.Duration

	// PendingPerSource is how many of the pending places one source may have, see
	// PerSource. Clients that connect and say nothing (slow loris) would otherwise hold
	// all of them, for PendingTimeout each: 9 honest requests in 8s, and 708 with two
	// places for each source. It rejects with either Overflow.
	PendingPerSource int

	// Rate is how many new connections are let in per second, on average. A rate
	// that is too high protects nothing and one that is too low costs time, so
	// it is for work that MaxPending cannot see, such as TLS handshakes.
	Rate float64

	// Burst is how many may come at once after a quiet time. Zero means a tenth of
	// Rate and at least 1, negative means 1.
	Burst int

	// Patience is how long clients wait before they give up. It is used with Overflow
	// Wait, where an accepted connection whose client is about to leave is lost, and
	// the head of a queue that is too long is always such a client.
	//
	// With a Rate the queue is made Rate*Patience/2 long, at least 16. Zero means
	// 1s, negative leaves the queue as it is. The queue of a listener with a SyscallConn
	// can be sized on Unix, that of one with a SetBacklog(int) error everywhere. If
	// another process has the same socket, the queue is as long as the limits say while
	// connections are accepted, and as long as it was after Close.
	//
	// With MaxPending or MaxConns, whose pace is not known beforehand, a client that
	// has waited for more than Patience/2 is rejected. Zero trusts clients to wait for
	// ever, also those of a parked [Gate]: set it if yours do not. Of 1000 clients
	// that leave after half a second, at a server that logs in 100 a second with
	// MaxPending 8, all were there after 13s if it was set, and a third after 20s
	// without. How long a client has waited is known of TCP on Linux, and of
	// connections with a method Waited() time.Duration.
	//
	// Where the queue cannot be sized, or the wait is not known, use Overflow Reset.
	Patience time.Duration

	// MaxConns is how many connections may be open at once.
	MaxConns int

	// PerSource is how many connections may be open at once from one IPv4 address
	// or one IPv6 /56, the least that a site is given. It rejects with either
	// Overflow, so that one source never blocks the others. Behind a load balancer all
	// connections have one source: leave it off, or put a PROXY protocol listener
	// below. Addresses without an IP are not limited.
	PerSource int

	// Overflow decides about clients beyond MaxPending, Rate and MaxConns.
	// Zero is Wait.
	Overflow Overflow

	// Reject tells a client in its own protocol that it is not let in, such as with an
	// HTTP 503. It runs in a goroutine of its own, at most 64 at once, and has 9s
	// for its reads and writes. The connection is closed when it returns, so that
	// its answer arrives, at the latest after 10s, and is cut by Close. A panic in
	// it ends the process, as in any goroutine. Nil, and beyond the 64, is a reset.
	Reject func(net.Conn, Reason)

	// Exempt names clients, by their address, that are not counted and not limited,
	// though they queue like all: one that is alone in the queue is served however full
	// the server is, at the price of one other client that is accepted before there is
	// room for it. It runs in Accept, with no lock held. Nil exempts none; nor is a
	// client without an address.
	Exempt func(net.Addr) bool

	// HalfClose is for protocols whose clients end their sending side and go on to wait for
	// the answer: to a kernel such a client looks like one that has left. With any of the
	// limits above it is skipped, and the data that it has sent are lost, unless HalfClose is
	// set: then only clients whose connection is reset are skipped. It is off because clients
	// that have left cause the livelock, and HTTP, gRPC, TLS and WebSocket clients do not
	// half-close.
	HalfClose bool

	// Raw leaves the *net.TCPConn of package net unwrapped under MaxPending alone, for
	// servers that treat this type better than any other: grpc-go 1.85 keeps 5.7 KB
	// for an idle connection instead of 38.5. Such a connection is admitted by
	// AdmitAddr; [Admit], [ConnContext], [ConnState] and [Leaving] do not know it. The
	// place of one that is closed is free within 5ms of being needed. Raw changes
	// nothing if MaxConns, PerSource, PendingPerSource or MaxAge is set as well.
	Raw bool

	// MaxAge is how long a connection lives. It spreads connections again after
	// replicas have restarted one after the other, at the cost of one login for each
	// connection that moves. Each connection reaches an age of its own between MaxAge/2
	// and MaxAge, so that those that came together do not leave together; it is then
	// told to end, by [Leaving] and by End.
	MaxAge time.Duration

	// AgeGrace is how long a connection that MaxAge has told to end may take, until it
	// is closed. Zero means 10s, negative for ever.
	AgeGrace time.Duration

	// End ends a connection that has reached MaxAge in its own protocol, as that of
	// Drain does. It runs in a goroutine of its own. With nil the connection is told by
	// [Leaving], and closed after AgeGrace.
	End func(net.Conn)
}

// Overflow decides about clients beyond a limit.
type Overflow int

// The two ways to treat clients beyond a limit.
const (
	// Wait lets them wait in the listener's queue. It suits clients that do not
	// back off.
	Wait Overflow = iota
	// Reset turns them away at once, through [Limits.Reject] or by a reset. It
	// suits clients that back off, and is then faster than Wait.
	Reset
)

// String returns the name, such as "wait".
func (o Overflow) String() string {
	switch o {
	case Wait:
		return "wait"
	case Reset:
		return "reset"
	}
	return fmt.Sprintf("Overflow(%d)", int(o))
}

// Reason is the limit that a rejected connection was beyond.
type Reason int

// The limits that connections are rejected for.
const (
	OverPending  Reason = iota // OverPending is beyond Limits.MaxPending.
	OverRate                   // OverRate is beyond Limits.Rate.
	OverConns                  // OverConns is beyond Limits.MaxConns.
	OverSource                 // OverSource is beyond Limits.PerSource.
	OverPatience               // OverPatience is beyond half of Limits.Patience, in the queue.

	reasons = iota
)

// String returns the limit's name, such as "pending".
func (r Reason) String() string {
	switch r {
	case OverPending:
		return "pending"
	case OverRate:
		return "rate"
	case OverConns:
		return "conns"
	case OverSource:
		return "source"
	case OverPatience:
		return "patience"
	}
	return fmt.Sprintf("Reason(%d)", int(r))
}

// MarshalText returns the same as String, so that [ThrottleStats] has names and no
// numbers in JSON. The error is always nil.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text of MarshalText. The error names a text that is no Reason.
func (r *Reason) UnmarshalText(text []byte) error {
	for known := range Reason(reasons) {
		if known.String() == string(text) {
			*r = known
			return nil
		}
	}
	return fmt.Errorf("listener: no Reason %q", text)
}

const (
	defaultPendingTimeout = 10 * time.Second
	defaultPatience       = time.Second
	defaultAgeGrace       = 10 * time.Second
)

// check panics on what cannot be meant.
func (l Limits) check(caller string) {
	if math.IsNaN(l.Rate) {
		panic("listener: " + caller + " with Limits.Rate NaN")
	}
	if l.Overflow != Wait && l.Overflow != Reset {
		panic(fmt.Sprintf("listener: %s with unknown Limits.Overflow %d", caller, l.Overflow))
	}
}

func (l *Limits) limitsRate() bool { return l.Rate > 0 && !math.IsInf(l.Rate, 1) }

// counts reports whether connections must tell when they end.
func (l *Limits) counts() bool {
	return l.MaxPending > 0 || l.MaxConns > 0 || l.limitsSource() || l.MaxAge > 0
}

func (l *Limits) limitsSource() bool { return l.PerSource > 0 || l.PendingPerSource > 0 }

// raw reports whether sockets are not wrapped, though they are counted.
func (l *Limits) raw() bool {
	return l.Raw && l.MaxPending > 0 && l.MaxConns <= 0 && !l.limitsSource() && l.MaxAge <= 0
}

// limiter returns nil for no limit. One that there was keeps its tokens: a rate that
// is adjusted often would let in a burst each time.
func (l Limits) limiter(was *rate.Limiter) *rate.Limiter {
	if !l.limitsRate() {
		return nil
	}
	burst := max(l.Burst, 1)
	if l.Burst == 0 {
		burst = int(min(max(1, l.Rate/10), math.MaxInt32))
	}
	if was == nil {
		return rate.NewLimiter(rate.Limit(l.Rate), burst)
	}
	was.SetLimit(rate.Limit(l.Rate))
	was.SetBurst(burst)
	return was
}

// longestWait is how long a client may have been in the queue, 0 for ever. The
// other half of its patience is for its login.
func (l *Limits) longestWait() time.Duration {
	if l.Overflow != Wait || l.MaxPending <= 0 && l.MaxConns <= 0 {
		return 0
	}
	return max(l.Patience/2, 0)
}

// pendingTimeout is 0 for never.
func (l *Limits) pendingTimeout() time.Duration {
	if l.PendingTimeout == 0 {
		return defaultPendingTimeout
	}
	return max(l.PendingTimeout, 0)
}

// ageGrace is 0 for ever.
func (l *Limits) ageGrace() time.Duration {
	if l.AgeGrace == 0 {
		return defaultAgeGrace
	}
	return max(l.AgeGrace, 0)
}
