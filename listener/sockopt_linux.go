//go:build !386 && !s390x

package listener

import "syscall"

const sysGetsockopt = syscall.SYS_GETSOCKOPT
