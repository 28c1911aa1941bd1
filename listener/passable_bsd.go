//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package listener

import "syscall"

// dup makes to another descriptor of from.
func dup(from, to int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := syscall.Dup2(from, to); err != nil {
		return err
	}
	syscall.CloseOnExec(to)
	return nil
}
