//go:build unix

package listener

import (
	"math"
	"syscall"
)

// shortages are the errors of a system that has run out of something.
var shortages = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED,
}

// systemBacklog is the longest queue that the system allows, which caps it
// (somaxconn): the backlog of net.Listen.
const systemBacklog = math.MaxInt32

// setBacklog changes the queue of a socket that is listening: listen(2) may be
// called again. net has no way to do it (golang/go#39000).
func setBacklog(c syscall.Conn, n int) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := rc.Control(func(fd uintptr) { lerr = syscall.Listen(int(fd), n) }); err != nil {
		return err
	}
	return lerr
}
