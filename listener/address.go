package listener

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The RemoteAddr of a connection may wait: that of a PROXY protocol listener reads
// the header that the client, or its balancer, is to send first. So it is asked for
// only if a limit needs it, never under a lock, and in the background unless the
// connection is a socket of package net: one silent client must not stop Accept.

const (
	maxAsked    = 1024             // connections whose addresses are waited for; beyond it the oldest is reset
	askDeadline = 10 * time.Second // for each, as go-proxyproto has it
	askFirst    = time.Millisecond // head start of a connection before the next: most answer at once, in order
)

// needAddr reports whether a limit needs the client's address.
func (l *Limits) needAddr() bool { return l.limitsSource() || l.Exempt != nil }

// learn asks for a's address if a limit needs it, and reports false if that may wait.
func (t *Throttled) learn(a *arrival) bool {
	if !t.inForce.Load().needAddr() {
		return true
	}
	switch a.conn.(type) {
	case *net.TCPConn, *net.UnixConn, *tcpConn, *unixConn, *nestedConn:
		a.addr = a.conn.RemoteAddr()
		return true
	}
	return false
}

// asked is the connections whose addresses are waited for. While there are any, inner
// Accepts run in a goroutine as well, one at a time, since either may come first.
type asked struct {
	wake chan struct{} // there is something new

	mu      sync.Mutex // guards the fields below
	silent  []*silent  // oldest first
	newest  *silent    // the last that was asked
	known   []arrival
	taking  bool // an inner Accept is under way
	err     error
	done    bool
	evicted uint64 // silent for too long, or too many
}

// silent is a connection whose address is not known yet.
type silent struct {
	arrival
	answered chan struct{} // closed when it is known, or reset
}

// next returns a connection whose address is known if a limit needs it.
func (t *Throttled) next() (arrival, error) {
	for {
		a, err, busy := t.asked.first()
		switch {
		case a.conn != nil || err != nil:
			return a, err
		case !busy:
			a, err := acceptFrom(t.l, t.reserve, t.closed, t.failed)
			if err != nil || t.learn(&a) {
				return a, err
			}
			t.asked.ask(a)
			continue
		}
		if t.asked.take() {
			go t.takeOne()
		}
		select {
		case <-t.asked.wake:
		case <-t.closed:
			return arrival{}, closedError("accept", t.Addr())
		}
	}
}

// takeOne is an inner Accept in the background.
func (t *Throttled) takeOne() {
	t.asked.awaitNewest()
	a, err := acceptFrom(t.l, t.reserve, t.closed, t.failed)
	if err != nil || t.learn(&a) {
		t.asked.took(a, err)
		return
	}
	t.asked.ask(a)
	t.asked.took(arrival{}, nil)
}

// first returns a connection or an error that is there, and whether more may come.
func (k *asked) first() (a arrival, err error, busy bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) > 0 {
		a = k.known[0]
		k.known = slices.Delete(k.known, 0, 1)
		return a, nil, true
	}
	if len(k.silent) == 0 {
		err, k.err = k.err, nil // after what is in hand
	}
	return arrival{}, err, k.taking || len(k.silent) > 0 || k.err != nil
}

// take reports whether the caller is to begin an inner Accept.
func (k *asked) take() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taking || k.err != nil {
		return false
	}
	k.taking = true
	return true
}

func (k *asked) took(a arrival, err error) {
	k.mu.Lock()
	k.taking, k.err = false, err
	k.addLocked(a)
}

// addLocked hands a connection, if there is one, to the next Accept, and unlocks.
func (k *asked) addLocked(a arrival) {
	done := k.done
	if a.conn != nil && !done {
		k.known = append(k.known, a)
	}
	k.mu.Unlock()
	if a.conn != nil && done {
		reset(a.conn)
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// ask waits for the address in the background.
func (k *asked) ask(a arrival) {
	s := &silent{a, make(chan struct{})}
	k.mu.Lock()
	if k.done {
		k.mu.Unlock()
		reset(a.conn)
		return
	}
	k.newest = s
	var oldest *silent
	if len(k.silent) >= maxAsked {
		oldest = k.silent[0]
	}
	k.silent = append(k.silent, s)
	k.mu.Unlock()
	if oldest != nil {
		k.evict(oldest)
	}
	go func() {
		due := time.AfterFunc(askDeadline, func() { k.evict(s) })
		addr := s.conn.RemoteAddr()
		due.Stop()
		k.mu.Lock()
		if !k.removeLocked(s) {
			k.mu.Unlock()
			return
		}
		s.addr = addr
		k.addLocked(s.arrival)
	}()
}

// evict resets a connection that stays silent, which ends its RemoteAddr.
func (k *asked) evict(s *silent) {
	k.mu.Lock()
	out := k.removeLocked(s)
	if out {
		k.evicted++
	}
	k.mu.Unlock()
	if out {
		reset(s.conn)
	}
}

// removeLocked reports whether s was waited for.
func (k *asked) removeLocked(s *silent) bool {
	i := slices.Index(k.silent, s)
	if i >= 0 {
		k.silent = slices.Delete(k.silent, i, i+1)
		close(s.answered)
	}
	return i >= 0
}

// awaitNewest gives the connection that was asked last its head start.
func (k *asked) awaitNewest() {
	k.mu.Lock()
	s := k.newest
	k.newest = nil
	k.mu.Unlock()
	if s != nil {
		sleep(askFirst, s.answered)
	}
}

// any reports whether there may be a connection in hand.
func (k *asked) any() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taking || len(k.silent)+len(k.known) > 0
}

func (k *asked) rejected() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.evicted
}

// close resets what is in hand.
func (k *asked) close() {
	k.mu.Lock()
	known, silent := k.known, k.silent
	k.known, k.silent, k.done = nil, nil, true
	k.mu.Unlock()
	for _, a := range known {
		reset(a.conn)
	}
	for _, s := range silent {
		close(s.answered)
		reset(s.conn)
	}
}

// A source is what PerSource counts: an address, or an IPv6 site.
type source = netip.Prefix

// sourceOf reports where a client is from, unless that is no IP address.
func sourceOf(addr net.Addr) (source, bool) {
	ip := ipOf(addr).Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 56
	}
	p, err := ip.Prefix(bits)
	return p, err == nil && ip.IsValid()
}

// ipOf returns the zero Addr if there is no IP. Listeners that are not of package
// net, such as those behind a proxy, have addresses of their own types.
func ipOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	if a == nil {
		return netip.Addr{}
	}
	p, _ := netip.ParseAddrPort(a.String())
	return p.Addr()
}
