package listener

import (
	"net"
	"sync"
	"sync/atomic"
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
	l       net.Listener
	turn    chan struct{} // held by the Accept that waits for room and decides
	freed   chan struct{} // wakes it
	closed  chan struct{}
	peer    peerState  // of the Accept that has the turn
	resizer resizer    // of the same
	sized   time.Time  // when that Accept has set the length of the queue again
	reserve *fdReserve // nil over a Gate, which has its own
	asked   asked

	sizing sync.Mutex // serialises changes of the queue's length
	queue  backlog    // guarded by sizing; unused over a Gate, which has its own

	inForce atomic.Pointer[Limits] // lim, without the lock

	mu        sync.Mutex // guards the fields below
	done      bool
	lim       Limits
	rate      *rate.Limiter // nil is no limit
	started   time.Time
	open      int
	pending   pendingList
	wrapped   openList
	untold    int                     // of the wrapped, not ended
	notices   map[*held]chan struct{} // of Leaving
	raws      raws
	sources   map[source]*sourceCount
	rejecting map[*rejection]struct{}
	rejected  [reasons]uint64
	draining  *drain
	hand      hand
	left      chan struct{} // closed during a Drain
	drained   bool          // l was closed by Drain
	aging     *time.Timer   // nil before MaxAge was needed
	aged      bool          // aging is set: there is MaxAge, and there are connections
	stats     ThrottleStats // without what the fields above say
}

var (
	_ net.Listener = (*Throttled)(nil)
	_ offerer      = (*Throttled)(nil)
)

// ThrottleStats are the counts of a [Throttled]. Admitted, PendingExpired,
// Open and Pending count only connections that were accepted under a limit that needs
// it: MaxPending, MaxConns, PerSource, PendingPerSource or MaxAge.
type ThrottleStats struct {
	// Accepted connections were returned by Accept.
	Accepted uint64
	// Admitted connections gave their pending place back by Admit or one of its kin. If
	// this stays at 0 while PendingExpired rises, no handler calls Admit, or Admit does
	// not find the connection inside the wrapper of a listener on top.
	Admitted uint64
	// Rejected connections were beyond a limit. Every Reason is a key.
	Rejected map[Reason]uint64
	// Corpses are abandoned connections: their clients had left before they were let in.
	Corpses uint64
	// PendingExpired connections lost their pending place after PendingTimeout. If it
	// rises, logins take longer than PendingTimeout, or connections that never log in
	// (health checkers, idle ones) are not admitted, see [ConnState]: in either case
	// MaxPending lets in MaxPending clients for each PendingTimeout, and no more.
	PendingExpired uint64
	// AcceptErrors passed, such as EMFILE, and were waited out; those of a Gate
	// underneath among them.
	AcceptErrors uint64
	// Drained connections were told to end, by Drain, Rebalance or MaxAge.
	Drained uint64
	// Open connections are accepted and not closed. With Limits.Raw there are none.
	Open int
	// Pending connections are accepted, and neither admitted, closed nor expired.
	Pending int
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
// Sockets of package net are returned as they are, unless MaxPending, MaxConns,
// PerSource, PendingPerSource or MaxAge is set. Then they are wrapped, to learn that
// they are closed (but see Limits.Raw): *net.TCPConn and *net.UnixConn with all their
// methods. Connections of other types are always wrapped, and keep ReadFrom, WriteTo,
// CloseWrite and SyscallConn. NetConn returns the connection inside.
//
// TLS goes on top: tls.NewListener(Throttle(...)). A PROXY protocol listener may be on
// top, where PerSource and AdmitAddr see the balancer, or below, where they see the
// client. Its address is then waited for in the background, for 10s at most: a client
// that does not send the header in time is reset and counted as OverSource.
//
// A client that vanishes without a word frees its places within 30s: on Linux by
// TCP_USER_TIMEOUT, which Throttle sets on each connection that has none and is under a limit,
// and the keep-alive that net.Listen has by default. On other systems that keep-alive takes
// 150s; listeners that [Reserve] or [ListenTwoPhase] makes take 30s everywhere.
//
// Like a [Gate], and only over another listener, it holds a descriptor in reserve.
//
// Throttle panics if l is nil, if lim.Rate is NaN, and if lim.Overflow is unknown.
func Throttle(l net.Listener, lim Limits) *Throttled {
	if l == nil {
		panic("listener: Throttle with nil listener")
	}
	lim.check("Throttle")
	_, gate := l.(*Gate)
	t := &Throttled{
		l:         l,
		turn:      make(chan struct{}, 1),
		freed:     make(chan struct{}, 1),
		closed:    make(chan struct{}),
		asked:     asked{wake: make(chan struct{}, 1)},
		lim:       lim,
		rate:      lim.limiter(nil),
		started:   time.Now(),
		sources:   make(map[source]*sourceCount),
		left:      make(chan struct{}),
		notices:   make(map[*held]chan struct{}),
		rejecting: make(map[*rejection]struct{}),
	}
	if !gate {
		t.reserve = new(fdReserve)
	}
	t.inForce.Store(&lim)
	t.peer.init()
	t.resizer.init(l)
	t.raws.init()
	t.resize()
	return t
}

// Addr returns the address of the listener underneath.
func (t *Throttled) Addr() net.Addr { return t.l.Addr() }

// Limits returns the limits in force: those of Throttle or of the last SetLimits.
func (t *Throttled) Limits() Limits { return *t.inForce.Load() }

// SetLimits replaces the limits, also for an Accept that is waiting. The new ones
// count connections that were accepted since limits that count them were first
// set; connections beyond them stay open. A Rate that replaces another begins with
// the tokens that are left, so adjusting it often lets in no bursts. It panics as
// Throttle does.
func (t *Throttled) SetLimits(lim Limits) {
	lim.check("SetLimits")
	t.mu.Lock()
	was := t.lim.MaxAge
	t.lim, t.rate = lim, lim.limiter(t.rate)
	t.inForce.Store(&lim)
	if lim.MaxAge != was {
		t.ageAgainLocked(0) // at once, or limits that are set often would put it off for ever
	}
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
	s.Rejected[OverSource] += t.asked.rejected()
	s.Open, s.Pending = t.open, t.pending.n
	return s
}

// resize makes the queue as long as the limits that are in force ask for.
func (t *Throttled) resize() {
	t.sizing.Lock()
	defer t.sizing.Unlock()
	n := t.inForce.Load().backlog()
	if g, ok := t.l.(*Gate); ok {
		g.setBacklog(n)
		return
	}
	t.queue.set(t.l, n)
}

// sizeAgain limits the queue of a socket that another process may have as well, and
// may have changed: a predecessor sets it back when it closes.
func (t *Throttled) sizeAgain(lim *Limits) {
	n := lim.backlog()
	if _, ok := t.l.(*Gate); ok || n == 0 || time.Since(t.sized) < sizeEvery {
		return
	}
	t.sized = time.Now()
	t.resizer.resize(t.l, n)
}

func (t *Throttled) failed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.AcceptErrors++
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
	rejecting := t.rejecting
	t.rejecting = nil
	t.ageLocked()
	t.mu.Unlock()
	for r := range rejecting {
		reset(r.Conn)
	}
	t.asked.close()
	if t.reserve != nil {
		t.reserve.free(true)
	}
	t.sizing.Lock()
	t.queue.restore(t.l)
	t.sizing.Unlock()
	return t.closeInner()
}

// closeInner closes l, unless Drain has done so.
func (t *Throttled) closeInner() error {
	t.mu.Lock()
	drained := t.drained
	t.mu.Unlock()
	if drained {
		return nil
	}
	return t.l.Close()
}
