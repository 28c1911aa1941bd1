//go:build linux

package service

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 60 * time.Second // of a busy machine; a start takes about one
	stopTimeout  = 20 * time.Second
)

// A process is a program that runs beside the test.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *transcript // what it writes to standard error, and to output if that is not set
	done chan struct{}
	err  error // of Wait, once done is closed
}

// A program is what start runs.
type program struct {
	place
	path  string
	args  []string
	env   []string       // beside PATH and the C locale
	death syscall.Signal // what the kernel sends if the test dies
	out   *transcript    // standard output; nil: together with standard error
}

// start runs p. The caller stops it.
func (p program) start() (*process, error) {
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir = p.dir // the test's own may be closed to p's user
	cmd.Env = append([]string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C"}, p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user, Setpgid: true, Pdeathsig: p.death}
	cmd.WaitDelay = stopTimeout

	r := &process{name: p.path, cmd: cmd, log: newTranscript(), done: make(chan struct{})}
	cmd.Stderr = r.log
	cmd.Stdout = r.log
	if p.out != nil {
		cmd.Stdout = p.out
	}
	started := make(chan error)
	go r.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", p.path, err)
	}
	return r, nil
}

// run starts the command and waits for it, on one thread: the kernel counts the
// end of the thread that started a process as the death of its parent.
func (r *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := r.cmd.Start()
	started <- err
	if err == nil {
		r.err = r.cmd.Wait()
		close(r.done)
	}
}

// ready waits until the process has written text n times, which it does when it
// serves.
func (r *process) ready(text string, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := r.log.await(ctx, r.done, text, n); err != nil {
		return fmt.Errorf("%s did not get ready: %w; it wrote:\n%s", r.name, err, r.log)
	}
	return nil
}

// stop sends sig and waits for the end. What does not obey is killed, and an error.
func (r *process) stop(sig syscall.Signal) error {
	select {
	case <-r.done:
		return nil
	default:
	}
	if err := r.cmd.Process.Signal(sig); err != nil {
		<-r.done // it has ended meanwhile
		return nil
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-r.done:
		return nil
	case <-timeout.C:
	}
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // its process group
	<-r.done
	return fmt.Errorf("%s ignored %v for %v and was killed; it wrote:\n%s", r.name, sig, stopTimeout, r.log)
}

// stopAtEnd stops what current returns when the test ends.
func stopAtEnd(tb testing.TB, sig syscall.Signal, current func() *process) {
	tb.Cleanup(func() {
		if err := current().stop(sig); err != nil {
			tb.Error(err)
		}
	})
}

// run runs a program that ends by itself, such as initdb.
func run(tb testing.TB, p program) {
	tb.Helper()
	p.death = syscall.SIGKILL
	r, err := p.start()
	if err != nil {
		tb.Fatal(err)
	}
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-r.done:
	case <-timeout.C:
		tb.Fatal(errors.Join(fmt.Errorf("%s takes longer than %v", r.name, startTimeout), r.stop(syscall.SIGKILL)))
	}
	if r.err != nil {
		tb.Fatalf("%s: %v; it wrote:\n%s", r.name, r.err, r.log)
	}
}

// serve starts p up to three times, since another program may take the port
// between freePort and the start, and waits until it has written ready.
func serve(tb testing.TB, ready string, try func(port int) program) (*process, int) {
	tb.Helper()
	var all error
	for range 3 {
		port := freePort(tb)
		r, err := try(port).start()
		if err != nil {
			tb.Fatal(err)
		}
		if err = r.ready(ready, 1); err == nil {
			return r, port
		}
		all = errors.Join(all, err, r.stop(syscall.SIGKILL))
	}
	tb.Fatal(all)
	return nil, 0
}
