//go:build unix && !solaris && !aix

package listener

import (
	"errors"
	"os"
	"syscall"
)

// passable returns a file whose Fd leaves the socket alone. That of a file from net makes
// the socket block, for all that share it: an Accept that is under way would then end
// with the next client only, whatever Close and deadlines say (facebookarchive/grace#40),
// and exec.Cmd calls it. Fd of a file that was made of a blocking descriptor does not.
func passable(f *os.File) (*os.File, error) {
	fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("open", err), f.Close())
	}
	p := os.NewFile(uintptr(fd), f.Name())
	rc, err := f.SyscallConn()
	if err == nil {
		cerr := rc.Control(func(socket uintptr) { err = os.NewSyscallError("dup", dup(int(socket), fd)) })
		err = errors.Join(err, cerr)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}
