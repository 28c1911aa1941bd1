package listener

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// A spare is a descriptor held in reserve, by a public port: it is given up when
// there are no more, and nothing is accepted before it is there again. So such a
// port never takes the last descriptor, and a private one, which has no such
// scruples, still answers when clients of the public one have used up the rest.
//
// The nil spare accepts without scruples.
type spare struct {
	mu   sync.Mutex // guards the fields below
	file *os.File
	done bool
}

// accept fails with EMFILE where l would succeed once more.
func (s *spare) accept(l net.Listener) (net.Conn, error) {
	if s == nil {
		return l.Accept()
	}
	if err := s.hold(); err != nil {
		return nil, err
	}
	c, err := l.Accept()
	if noDescriptors(err) {
		s.free(false)
	}
	return c, err
}

func noDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// hold makes sure that there is a descriptor in reserve. Without a null device
// there is none.
func (s *spare) hold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil || s.done {
		return nil
	}
	f, err := os.Open(os.DevNull)
	if noDescriptors(err) {
		return err
	}
	s.file = f // nil after any other error
	return nil
}

// free gives the descriptor up, perhaps for good.
func (s *spare) free(done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = s.done || done
	_ = s.file.Close() // an error only if there is none
	s.file = nil
}
