//go:build linux && !386 && !s390x

package listener

import "syscall"

// sysGetsockopt is 365 where package syscall has no name of it, see the other file.
const sysGetsockopt = syscall.SYS_GETSOCKOPT
