package listener

import (
	"net"
	"weak"
)

// A rawSet is the sockets that were handed out as they are, so that Drain can end
// them. Closed ones are forgotten when their number has doubled, which costs each
// connection a constant; and the set keeps none alive.
type rawSet[T any] struct {
	ended func(*T) bool
	all   []rawConn[T]
	limit int // sweep when there are as many
}

type rawConn[T any] struct {
	weak.Pointer[T]
	told bool // to end
}

func (s *rawSet[T]) add(c *T) {
	if len(s.all) >= s.limit {
		s.sweep()
	}
	s.all = append(s.all, rawConn[T]{weak.Make(c), false})
}

// sweep forgets what is closed, and returns how many are not.
func (s *rawSet[T]) sweep() int {
	open := s.all[:0]
	for _, r := range s.all {
		if c := r.Value(); c != nil && !s.ended(c) {
			open = append(open, r)
		}
	}
	clear(s.all[len(open):])
	s.all, s.limit = open, 2*len(open)+512
	return len(open)
}

func (s *rawSet[T]) untoldCount() (n int) {
	for _, r := range s.all {
		if !r.told {
			n++
		}
	}
	return n
}

// untold returns an open connection that was not told to end, and tells it.
func (s *rawSet[T]) untold() *T {
	for i := range s.all {
		if r := &s.all[i]; !r.told {
			r.told = true
			if c := r.Value(); c != nil && !s.ended(c) {
				return c
			}
		}
	}
	return nil
}

// raws are the sockets of both kinds that net makes.
type raws struct {
	tcp  rawSet[net.TCPConn]
	unix rawSet[net.UnixConn]
}

func (r *raws) init() { r.tcp.ended, r.unix.ended = endedTCP, endedUnix }

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

func (r *raws) untoldCount() int { return r.tcp.untoldCount() + r.unix.untoldCount() }

func (r *raws) any() bool { return len(r.tcp.all)+len(r.unix.all) > 0 }

func (r *raws) sweep() int { return r.tcp.sweep() + r.unix.sweep() }

func (r *raws) untold() net.Conn {
	if c := r.tcp.untold(); c != nil {
		return c
	}
	if c := r.unix.untold(); c != nil {
		return c
	}
	return nil
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
