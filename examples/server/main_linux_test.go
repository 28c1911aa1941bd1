package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

const fleet = 60

// Real processes: a fleet whose server is killed, and later restarted in order.
func TestAgentsComeBackInOrder(t *testing.T) {
	bin := build(t)

	// An address of its own, whose port no other program takes while the server is away.
	host := fmt.Sprintf("127.%d.%d.%d:0", 2+rand.IntN(250), rand.IntN(256), 2+rand.IntN(250))
	first := startServer(t, bin, host, host, "300ms")
	start(t, filepath.Join(bin, "agent"), "-server", first.public, "-agents", fmt.Sprint(fleet), "-splay", "300ms", "-max", "1s")
	first.allBack(t)

	require.NoError(t, first.cmd.Process.Kill())
	_ = first.cmd.Wait()
	second := startServer(t, bin, hostOf(first.public), hostOf(first.private), "300ms")
	second.allBack(t)
	second.inOrder(t)

	require.NoError(t, second.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, second.cmd.Wait(), "an orderly end")
	third := startServer(t, bin, hostOf(first.public), hostOf(first.private), "0")
	third.allBack(t)
	third.inOrder(t)

	// As one of several replicas it lets the agents go in pace, is not ready any more from
	// the first to the last, and ends when none is left.
	begin := time.Now()
	require.NoError(t, third.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return !third.ready() }, 10*time.Second, time.Millisecond)
	require.NoError(t, third.cmd.Wait(), "an orderly end")
	require.Greater(t, time.Since(begin), (fleet-1)*5*time.Millisecond, "at 200 a second")
}

// build builds both programs, if both are there and can be run.
func build(t *testing.T) (bin string) {
	t.Helper()
	if _, err := os.Stat("../agent"); err != nil {
		t.Skip("no ../agent: copy examples/agent beside this folder, into the same module")
	}
	bin = t.TempDir()
	out, err := exec.Command("go", "build", "-o", bin+"/", ".", "../agent").CombinedOutput()
	require.NoError(t, err, "%s", out)
	if err := exec.Command(filepath.Join(bin, "server"), "-h").Run(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("emulated: a program of another processor cannot be started from here")
	}
	return bin
}

// A child is a server that runs.
type child struct {
	cmd             *exec.Cmd
	public, private string // URLs
}

func startServer(t *testing.T, bin, public, private, away string) *child {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "server"), "-public", public, "-private", private, "-away", away,
		"-window", "300ms", "-heartbeat", "50ms", "-logins", "8", "-login-time", "20ms")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { stop(cmd) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the server does not open")
	c := &child{cmd: cmd}
	_, err = fmt.Sscanf(line, "agents at %s private at %s", &c.public, &c.private)
	require.NoError(t, err, line)
	c.public = strings.TrimSuffix(c.public, ",")
	return c
}

func start(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { stop(cmd) })
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func hostOf(url string) string { return strings.TrimPrefix(url, "http://") }

// ready reports what a balancer's health check would see.
func (c *child) ready() bool {
	client := http.Client{Transport: transport.Transient(), Timeout: 10 * time.Second}
	resp, err := client.Get(c.private + "/readyz")
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// vars are the figures of a server that the test looks at.
type vars struct {
	Streams  int
	Pacer    backoff.PacerStats
	Verdicts ttlcache.Stats
}

func (c *child) vars() (v vars, err error) {
	client := http.Client{Transport: transport.Transient(), Timeout: 10 * time.Second}
	resp, err := client.Get(c.private + "/debug/vars")
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

func (c *child) allBack(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		v, err := c.vars()
		return err == nil && v.Streams == fleet
	}, time.Minute, 20*time.Millisecond)
}

// inOrder is what a fleet owes its server: one login each, and few attempts more.
func (c *child) inOrder(t *testing.T) {
	t.Helper()
	v, err := c.vars()
	require.NoError(t, err)
	t.Logf("%+v", v)
	require.EqualValues(t, fleet, v.Verdicts.Loads)
	require.EqualValues(t, fleet, v.Pacer.Entered, "nobody came in twice")
	require.Zero(t, v.Verdicts.Failed+v.Verdicts.Shed)
	require.LessOrEqual(t, v.Pacer.TurnedAway, uint64(3*fleet), "also on a machine that stalled")
}
