//go:build linux && (386 || s390x)

package listener

// sysGetsockopt exists beside socketcall(2) since Linux 4.3, and is not in package
// syscall (arch/x86/entry/syscalls/syscall_32.tbl, arch/s390/kernel/syscalls).
const sysGetsockopt = 365
