package listener

import (
	"math/rand/v2"
	"net"
	"slices"
	"weak"
)

// A rawSet is the sockets that were handed out as they are, so that Drain can end
// them. Closed ones are forgotten when their number has doubled, which costs each
// connection a constant; and the set keeps none alive.
type rawSet[T any] struct {
	closed func(*T) bool
	all    []rawConn[T]
	ended  int // as many at the beginning of all were ended
	limit  int // sweep when there are as many
}

type rawConn[T any] struct {
	weak.Pointer[T]
	told bool // that it is to end
}

func (s *rawSet[T]) add(c *T) {
	if len(s.all) >= s.limit {
		s.sweep()
	}
	s.all = append(s.all, rawConn[T]{weak.Make(c), false})
}

// sweep forgets what is closed, and returns how many are not.
func (s *rawSet[T]) sweep() int {
	open, ended := s.all[:0], 0
	for i, r := range s.all {
		if c := r.Value(); c != nil && !s.closed(c) {
			open = append(open, r)
			if i < s.ended {
				ended++
			}
		}
	}
	clear(s.all[len(open):])
	s.all, s.ended, s.limit = open, ended, 2*len(open)+512
	return len(open)
}

// anyOpen looks at those first that were not ended: most likely the first is open.
func (s *rawSet[T]) anyOpen() bool {
	open := func(r rawConn[T]) bool { c := r.Value(); return c != nil && !s.closed(c) }
	return slices.ContainsFunc(s.all[s.ended:], open) || slices.ContainsFunc(s.all[:s.ended], open)
}

// untold is how many may be open and were not ended.
func (s *rawSet[T]) untold() int { return len(s.all) - s.ended }

// tell returns one of them, nil if there is none, and whether it was told the first time.
func (s *rawSet[T]) tell() (c *T, first bool) {
	for s.untold() > 0 {
		i := s.ended + rand.IntN(s.untold())
		s.all[s.ended], s.all[i] = s.all[i], s.all[s.ended]
		r := &s.all[s.ended]
		s.ended++
		if c := r.Value(); c != nil && !s.closed(c) {
			first, r.told = !r.told, true
			return c, first
		}
	}
	return nil, false
}

// forget takes out a connection that is not handed out after all.
func (s *rawSet[T]) forget(c *T) {
	i := slices.IndexFunc(s.all, func(r rawConn[T]) bool { return r.Value() == c })
	if i < 0 {
		return
	}
	s.all = slices.Delete(s.all, i, i+1)
	if i < s.ended {
		s.ended--
	}
}

// raws are the sockets of both kinds that net makes.
type raws struct {
	tcp  rawSet[net.TCPConn]
	unix rawSet[net.UnixConn]
}

func (r *raws) init() { r.tcp.closed, r.unix.closed = endedTCP, endedUnix }

// add reports false for another kind of connection.
func (r *raws) add(c net.Conn) bool {
	switch c := c.(type) {
	case *net.TCPConn:
		r.tcp.add(c)
	case *net.UnixConn:
		r.unix.add(c)
	default:
		return false
	}
	return true
}

// forget undoes add.
func (r *raws) forget(c net.Conn) {
	switch c := c.(type) {
	case *net.TCPConn:
		r.tcp.forget(c)
	case *net.UnixConn:
		r.unix.forget(c)
	}
}

func (r *raws) untold() int { return r.tcp.untold() + r.unix.untold() }

// untell is for a Drain, which ends all.
func (r *raws) untell() { r.tcp.ended, r.unix.ended = 0, 0 }

func (r *raws) anyOpen() bool { return r.tcp.anyOpen() || r.unix.anyOpen() }

func (r *raws) any() bool { return len(r.tcp.all)+len(r.unix.all) > 0 }

func (r *raws) sweep() int { return r.tcp.sweep() + r.unix.sweep() }

// tell returns a connection that was not ended, nil if there is none, and whether it was
// told the first time.
func (r *raws) tell() (net.Conn, bool) {
	if c, first := r.tcp.tell(); c != nil {
		return c, first
	}
	if c, first := r.unix.tell(); c != nil {
		return c, first
	}
	return nil, false
}

// open returns all that are open.
func (r *raws) open() (all []net.Conn) {
	r.sweep()
	for _, c := range r.tcp.all {
		if c := c.Value(); c != nil {
			all = append(all, c)
		}
	}
	for _, c := range r.unix.all {
		if c := c.Value(); c != nil {
			all = append(all, c)
		}
	}
	return all
}
