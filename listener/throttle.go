package listener

import (
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Throttled is a listener that lets in no more than its [Limits] allow. All
// methods may be called from any number of goroutines.
//
// Accept returns a connection, net.ErrClosed after Close, or the failure of the
// listener underneath if it is there to stay. It never returns an error that
// concerns one client or passes.
type Throttled struct {
	l      net.Listener
	turn   chan struct{} // held by the Accept that waits for room and decides
	freed  chan struct{} // wakes it
	closed chan struct{}
	probe  probe  // of whoever has the turn
	spare  *spare // nil over a Gate, which has its own

	sizing sync.Mutex // serialises changes of the queue's length
	sized  bool       // guarded by sizing

	mu       sync.Mutex // guards the fields below
	done     bool
	lim      Limits
	rate     *rate.Limiter // nil is no limit
	epoch    time.Time
	open     int
	pending  line
	sources  map[source]*sourceCount
	parting  map[*parting]struct{}
	rejected [reasons]uint64
	stats    ThrottleStats // without what the fields above say
}

var _ net.Listener = (*Throttled)(nil)

// ThrottleStats counts what has happened at a [Throttled]. Open and Pending count
// only connections that were accepted under a limit that needs it: MaxPending,
// MaxConns or PerSource.
type ThrottleStats struct {
	Accepted       uint64            // Accepted connections were returned by Accept.
	Rejected       map[Reason]uint64 // Rejected connections were beyond a limit. Every Reason is a key.
	Corpses        uint64            // Corpses are connections whose clients had left before they were let in.
	PendingExpired uint64            // PendingExpired connections lost their place after PendingTimeout.
	AcceptErrors   uint64            // AcceptErrors passed, such as EMFILE, and were waited out; those of a Gate underneath among them.
	Open           int               // Open connections are accepted and not closed.
	Pending        int               // Pending connections are accepted, and neither admitted, closed nor expired.
}

// Throttle returns a listener that accepts from l within lim, and owns l from now
// on: Close closes it. Over a [Gate] the length of the queue that Patience asks
// for is set at each Open, and while a parked gate is shut the queue is as long as
// the system allows.
//
// A connection whose client has left while it waited is skipped: it costs no
// token and no place. The system is asked about sockets (on Linux exactly, on
// other Unix systems if the client has sent nothing, elsewhere not), and other
// connections if they have a method PeerClosed() bool.
//
// Connections are those of l, unless MaxPending, MaxConns or PerSource is set.
// Then they are wrapped, to learn that they are closed: *net.TCPConn and
// *net.UnixConn with all their methods, others with those of net.Conn, each with
// NetConn to get what is inside. TLS goes on top: tls.NewListener(Throttle(...)).
//
// Like a [Gate], and only over another listener, it holds a descriptor in reserve.
//
// Throttle panics if l is nil, if lim.Rate is NaN, and if lim.Overflow is unknown.
func Throttle(l net.Listener, lim Limits) *Throttled {
	if l == nil {
		panic("listener: Throttle with nil listener")
	}
	lim.check("Throttle")
	t := &Throttled{
		l:       l,
		turn:    make(chan struct{}, 1),
		freed:   make(chan struct{}, 1),
		closed:  make(chan struct{}),
		lim:     lim,
		rate:    lim.limiter(nil),
		epoch:   time.Now(),
		sources: make(map[source]*sourceCount),
		parting: make(map[*parting]struct{}),
	}
	if _, ok := l.(*Gate); !ok {
		t.spare = new(spare)
	}
	t.probe.init()
	t.resize()
	return t
}

// Addr returns the address of the listener underneath.
func (t *Throttled) Addr() net.Addr { return t.l.Addr() }

// Limits returns what was given to Throttle or, last, to SetLimits.
func (t *Throttled) Limits() Limits {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lim
}

// SetLimits replaces the limits, also for an Accept that is waiting. The new ones
// count connections that were accepted since limits that count them were first
// set; what is open beyond them stays open. A Rate that replaces another begins with
// the tokens that are left, so adjusting it often lets in no bursts. It panics as
// Throttle does.
func (t *Throttled) SetLimits(lim Limits) {
	lim.check("SetLimits")
	t.mu.Lock()
	t.lim, t.rate = lim, lim.limiter(t.rate)
	t.wakeLocked()
	t.mu.Unlock()
	t.resize()
}

// Stats returns the counts up to now.
func (t *Throttled) Stats() ThrottleStats {
	s := t.count()
	if g, ok := t.l.(*Gate); ok {
		s.AcceptErrors += g.Stats().AcceptErrors
	}
	return s
}

func (t *Throttled) count() ThrottleStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expireLocked(time.Now())
	s := t.stats
	s.Rejected = make(map[Reason]uint64, reasons)
	for r := range Reason(reasons) {
		s.Rejected[r] = t.rejected[r]
	}
	s.Open, s.Pending = t.open, t.pending.n
	return s
}

// resize makes the queue as long as the limits that are in force ask for.
func (t *Throttled) resize() {
	t.sizing.Lock()
	defer t.sizing.Unlock()
	n := t.Limits().backlog()
	if g, ok := t.l.(*Gate); ok {
		g.setBacklog(n)
		return
	}
	if n == 0 && !t.sized {
		return
	}
	t.sized = true
	if n == 0 {
		n = systemBacklog
	}
	_ = resize(t.l, n) // as far as it can be had, see Limits.Patience
}

// Accept waits until the limits allow another connection and for a client that is
// still there.
func (t *Throttled) Accept() (net.Conn, error) {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	for t.await() {
		c, err := acceptFrom(t.l, t.spare, t.closed, t.failed)
		if err != nil {
			return nil, t.failure(err)
		}
		if c := t.enter(c); c != nil {
			return c, nil
		}
	}
	return nil, closedError("accept", t.Addr())
}

// failure is err, or the error of a closed listener.
func (t *Throttled) failure(err error) error {
	if stopped(t.closed) {
		return closedError("accept", t.Addr())
	}
	return err
}

func (t *Throttled) failed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.AcceptErrors++
}

// await waits, with Overflow Wait, for room for one more connection, so that it
// is in the kernel's queue that clients wait. It reports false after Close.
func (t *Throttled) await() bool {
	for {
		wait, room := t.room()
		if room || stopped(t.closed) {
			return !stopped(t.closed)
		}
		t.pause(wait)
	}
}

// pause waits for d, for ever if negative, or for what may have changed sooner.
func (t *Throttled) pause(d time.Duration) {
	var due <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-t.freed:
	case <-t.closed:
	}
}

// enter returns c, counted, if it may enter, and nil if that was its end.
func (t *Throttled) enter(c net.Conn) net.Conn {
	exempt := t.exempt(c)
	for !stopped(t.closed) {
		lim := t.Limits()
		if t.dead(c, lim) {
			reset(c)
			return nil
		}
		if !exempt && t.late(c, lim) {
			t.reject(c, OverPatience)
			return nil
		}
		in, why := t.charge(c, exempt)
		switch {
		case in != nil:
			return in
		case t.rejects(why):
			t.reject(c, why)
			return nil
		}
		t.await() // the limits have become lower since there was room
	}
	reset(c)
	return nil
}

func (t *Throttled) exempt(c net.Conn) bool {
	exempt := t.Limits().Exempt
	return exempt != nil && exempt(c.RemoteAddr())
}

// dead reports whether c's client has left, and counts it.
func (t *Throttled) dead(c net.Conn, lim Limits) bool {
	if !lim.counts() && !lim.limitsRate() || !t.probe.left(c, lim.HalfClose) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Corpses++
	return true
}

// late reports whether c's client has waited for so long that it would leave while
// it logs in. The head of a queue that is too long is always such a client.
func (t *Throttled) late(c net.Conn, lim Limits) bool {
	longest := lim.longestWait()
	return longest > 0 && t.probe.waited(c) > longest
}

// Close closes the listener underneath and ends every Accept. Accepted
// connections live on; those that are being rejected are cut. A second Close
// returns nil.
func (t *Throttled) Close() error {
	t.mu.Lock()
	if t.done {
		t.mu.Unlock()
		return nil
	}
	t.done = true
	close(t.closed)
	parting := t.parting
	t.parting = nil
	t.mu.Unlock()
	for p := range parting {
		reset(p.Conn)
	}
	if t.spare != nil {
		t.spare.free(true)
	}
	return t.l.Close()
}
