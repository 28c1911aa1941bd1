//go:build linux

package service_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// childVariable makes a test play the part of a test process that is watched from
// outside.
const childVariable = "CONNHYGIENE_CHILD"

// child prepares the running test to be run once more, in a process of its own.
func child(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), append(env, childVariable+"=1")...)
	return cmd
}

// A test process that is killed, by a time-out of its own or by an impatient
// person, runs no clean-up.
func TestKilledTestLeavesNoServer(t *testing.T) {
	const up = "servers are up: "
	if os.Getenv(childVariable) != "" {
		fmt.Println("\n" + up + strings.Join(startAll(t), " "))
		select {} // until killed
	}
	cmd := child(t, "TMPDIR="+privateTemp(t))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	var addrs []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if list, ok := strings.CutPrefix(lines.Text(), up); ok {
			addrs = strings.Fields(list)
			break
		}
	}
	require.Len(t, addrs, 5)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	for _, addr := range addrs {
		require.Eventually(t, func() bool { return !reachable(addr) }, 20*time.Second, 20*time.Millisecond, addr)
	}
}

// Whoever has no curl can still run the other tests, and the gate notices.
func TestMissingProgram(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		service.StartCurl(t, "--version")
		return
	}
	out, err := child(t, "PATH=", "CONNHYGIENE_SERVICES=").Output()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "SKIP: TestMissingProgram")
	require.Contains(t, string(out), "curl is not installed: apt-get install -y curl")

	out, err = child(t, "PATH=", "CONNHYGIENE_SERVICES=required").Output()
	require.Error(t, err)
	require.Contains(t, string(out), "FAIL: TestMissingProgram")
	require.Contains(t, string(out), "apt-get install -y curl (CONNHYGIENE_SERVICES=required)")
}
