package listenertest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferSize is how much a writer may be ahead of its reader. As with a socket,
// and unlike with net.Pipe, both ends can write at once without either reading:
// net/http does, when a server answers a request before having read it.
const bufferSize = 64 << 10

// A stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex   // guards the fields below
	changed sync.Cond    // any of them
	buf     bytes.Buffer // written and not read
	ended   bool         // the writer has finished: io.EOF after buf
	reset   bool         // the writer has cut the connection: ECONNRESET
	left    bool         // the reader has closed: EPIPE
	reading deadline
	writing deadline
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	s.reading.init(&s.mu, &s.changed)
	s.writing.init(&s.mu, &s.changed)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.left:
			return 0, net.ErrClosed
		case s.reading.expired:
			return 0, os.ErrDeadlineExceeded
		case s.reset:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case len(p) == 0:
			return 0, nil
		case s.buf.Len() > 0:
			n, err := s.buf.Read(p)
			s.changed.Broadcast()
			return n, err
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended || s.reset:
			return written, net.ErrClosed
		case s.writing.expired:
			return written, os.ErrDeadlineExceeded
		case s.left:
			return written, os.NewSyscallError("write", syscall.EPIPE)
		case len(p) == 0:
			return written, nil
		}
		if room := bufferSize - s.buf.Len(); room > 0 {
			n, _ := s.buf.Write(p[:min(room, len(p))]) // never fails
			written += n
			p = p[n:]
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
}

// end finishes the stream, from the writer's end: in order, or by a reset.
func (s *stream) end(reset bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended && !reset || s.reset {
		return
	}
	s.ended, s.reset = true, reset
	s.writing.setLocked(time.Time{})
	s.changed.Broadcast()
}

// leave finishes the stream from the reader's end and reports whether it is the
// first to do so.
func (s *stream) leave() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return false
	}
	s.left = true
	s.buf = bytes.Buffer{}
	s.reading.setLocked(time.Time{})
	s.changed.Broadcast()
	return true
}

// over reports whether the writer has finished.
func (s *stream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.setLocked(t)
}
