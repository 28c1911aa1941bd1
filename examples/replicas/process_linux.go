package main

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// alone puts a process into a group of its own, and has the kernel end it if this one is
// killed.
func alone() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// launcher starts processes on one thread that never ends: the kernel sends Pdeathsig when
// the thread ends that started them.
var launcher = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func launch(cmd *exec.Cmd) error {
	done := make(chan error)
	launcher() <- func() { done <- cmd.Start() }
	return <-done
}
