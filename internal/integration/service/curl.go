//go:build linux

package service

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
)

// Curl is a run of the command curl.
type Curl struct {
	tb      testing.TB
	process *process
	out     *transcript
}

// StartCurl starts curl beside the test, without a proxy, the user's settings or a
// progress meter, and for at most half a minute. It ends with the test at the latest.
func StartCurl(tb testing.TB, args ...string) *Curl {
	tb.Helper()
	c := &Curl{tb: tb, out: newTranscript()}
	var err error
	c.process, err = program{
		place: newPlace(tb, "curl"),
		path:  find(tb, "curl", "curl"),
		args:  append([]string{"-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"}, args...),
		death: syscall.SIGKILL,
		out:   c.out,
	}.start()
	if err != nil {
		tb.Fatal(err)
	}
	stopAtEnd(tb, syscall.SIGKILL, func() *process { return c.process })
	return c
}

// Await waits until curl has written text to standard error, where --verbose says
// what it does.
func (c *Curl) Await(text string) {
	c.tb.Helper()
	if err := c.process.ready(text, 1); err != nil {
		c.tb.Fatal(err)
	}
}

// Running reports whether curl has not ended yet.
func (c *Curl) Running() bool {
	select {
	case <-c.process.done:
		return false
	default:
		return true
	}
}

// Wait waits for the end and returns the exit status and what curl wrote to
// standard output and to standard error.
func (c *Curl) Wait() (status int, out, verbose string) {
	c.tb.Helper()
	<-c.process.done
	var exit *exec.ExitError
	if err := c.process.err; err != nil && !errors.As(err, &exit) {
		c.tb.Fatal(err)
	}
	return c.process.cmd.ProcessState.ExitCode(), c.out.String(), c.process.log.String()
}
