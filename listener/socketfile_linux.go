package listener

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
)

// A socketFile keeps the name of a Unix socket, a path or abstract, with a socket
// that is bound and listens when the gate opens. It cannot go back to not
// listening (after shutdown(2) it never listens again), so a new one takes the name.
type socketFile struct {
	lc      net.ListenConfig
	network string
	name    string
	f       *os.File    // nil if the name is not ours
	passed  bool        // the name is a successor's
	info    os.FileInfo // of the path as we made it; nil for an abstract name
	look    os.FileInfo // of the path as its mode and owner were last; nil if never seen
}

func newSocketFile(f *os.File, lc net.ListenConfig, addr net.Addr) (*socketFile, error) {
	s := &socketFile{lc: lc, network: addr.Network(), name: addr.String(), f: f}
	if err := s.note(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// note remembers the file that was just made.
func (s *socketFile) note() (err error) {
	if !strings.HasPrefix(s.name, "@") {
		s.info, err = os.Lstat(s.name)
	}
	return err
}

func (s *socketFile) listen(ctx context.Context) (net.Listener, error) {
	if s.passed {
		return nil, errPassed
	}
	if s.f == nil {
		if err := s.bind(ctx); err != nil {
			return nil, err
		}
	}
	err := control(s.f, func(fd int) error {
		return os.NewSyscallError("listen", syscall.Listen(fd, systemBacklog))
	})
	if err != nil {
		return nil, err
	}
	return net.FileListener(s.f)
}

func (s *socketFile) leave(l net.Listener) error {
	if err := errors.Join(l.Close(), s.f.Close()); err != nil {
		return err
	}
	s.f = nil
	if s.passed {
		return nil
	}
	return s.bind(context.Background())
}

// errPassed is Open's error after File and Shut.
var errPassed = errors.New("listener: the Unix socket was passed to another process")

func (s *socketFile) file(l net.Listener) (*os.File, error) {
	f, err := fileOf(l)
	s.passed = s.passed || err == nil
	return f, err
}

func (s *socketFile) release(l net.Listener) error {
	if s.f == nil {
		return nil
	}
	err := s.remove()
	if l != nil {
		err = errors.Join(err, l.Close())
	}
	return errors.Join(err, s.f.Close())
}

// bind takes the name anew, with the mode and the owner that its file had.
func (s *socketFile) bind(ctx context.Context) error {
	if err := s.remove(); err != nil {
		return err
	}
	f, _, err := bindOnly(ctx, s.lc, s.network, s.name)
	if err != nil {
		return err
	}
	if err := errors.Join(s.note(), s.dress()); err != nil {
		return errors.Join(err, os.Remove(s.name), f.Close())
	}
	s.f = f
	return nil
}

// remove removes our file, and remembers its look. A file that another process
// has put in its place is left there.
func (s *socketFile) remove() error {
	if s.info == nil || s.passed {
		return nil
	}
	now, err := os.Lstat(s.name)
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(now, s.info) {
		return nil
	}
	if err != nil {
		return err
	}
	s.look = now
	return os.Remove(s.name)
}

func (s *socketFile) dress() error {
	if s.look == nil {
		return nil
	}
	was, now := s.look.Sys().(*syscall.Stat_t), s.info.Sys().(*syscall.Stat_t)
	if was.Uid != now.Uid || was.Gid != now.Gid {
		if err := os.Lchown(s.name, int(was.Uid), int(was.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(s.name, s.look.Mode().Perm())
}
