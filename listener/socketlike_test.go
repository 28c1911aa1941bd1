package listener_test

import (
	"io"
	"net"
	"os"
	"syscall"
)

// What servers look for in a connection.
type (
	halfCloser interface {
		net.Conn
		CloseWrite() error
	}
	syscallConn interface {
		SyscallConn() (syscall.RawConn, error)
	}
	socket interface {
		halfCloser
		syscallConn
		io.ReaderFrom
		io.WriterTo
		NetConn() net.Conn
	}
)

// socketLike is a connection with the methods of a socket.
type socketLike struct{ halfCloser }

func (*socketLike) SyscallConn() (syscall.RawConn, error) { return nil, syscall.ENOTSUP }

var errDeadline = os.ErrDeadlineExceeded
