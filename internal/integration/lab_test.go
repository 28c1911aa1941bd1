//go:build linux

package integration_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// A lab is a network namespace with a loopback interface of its own and nothing
// else, in which packets can be made to vanish without a word. Every address in
// 127.0.0.0/8 is a host there.
//
// All rules apply to packets as they arrive, in both directions, so neither end sees
// an error: that is how a lost node, a pulled cable or a forgetful middlebox looks.
type lab struct {
	t     *testing.T
	nft   string
	rules int // names the sets of each rule
}

// labVariable marks the process inside the namespace.
const labVariable = "CONNHYGIENE_LAB"

// labLimit bounds a test in a lab.
const labLimit = 4 * time.Minute

// inLab runs play in a lab. It starts this test once more in a process of its own,
// inside a new network namespace that disappears with the process; the servers that
// play starts, in process or with package service, are in it as well. Call it first
// and alone in a test function: all else that the function does would happen twice.
//
// It needs root or user namespaces, and the Debian packages iproute2 and nftables.
// Where they are missing it skips the test, or fails it if services are required.
func inLab(t *testing.T, play func(l *lab)) {
	t.Helper()
	ip := service.Find(t, "ip", "iproute2")
	nft := service.Find(t, "nft", "nftables")
	if os.Getenv(labVariable) == "" {
		outsideLab(t)
		return
	}
	l := &lab{t: t, nft: nft}
	out, err := exec.Command(ip, "link", "set", "lo", "up").CombinedOutput()
	require.NoError(t, err, "%s", out)
	l.load("add table inet lab\nadd chain inet lab in { type filter hook input priority 0; }")
	play(l)
}

// outsideLab runs the test in a namespace and reports what became of it.
func outsideLab(t *testing.T) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	verbose := "-test.v=" + fmt.Sprint(testing.Verbose())
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", verbose, "-test.timeout="+labLimit.String(), "-test.short="+fmt.Sprint(testing.Short()))
	cmd.Env = append(os.Environ(), labVariable+"=1")
	cmd.SysProcAttr = labAttributes()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		service.Missing(t, "no network namespace here (root or user namespaces are needed): "+err.Error())
		return
	}
	err = cmd.Wait()
	t.Logf("in a network namespace:\n%s", strings.TrimSpace(out.String()))
	require.NoError(t, err)
}

// labAttributes make a process the first of a new network namespace. An ordinary user
// gets a user namespace too, in which the process may set up the network and is the
// same user as outside.
func labAttributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		const capNetAdmin = 12
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		attr.AmbientCaps = []uintptr{capNetAdmin}
	}
	return attr
}

// load gives commands to nft, all or none.
func (l *lab) load(commands string) {
	l.t.Helper()
	cmd := exec.Command(l.nft, "-f", "-")
	cmd.Stdin = strings.NewReader(commands)
	out, err := cmd.CombinedOutput()
	require.NoError(l.t, err, "%s\n%s", commands, out)
}

// vanish silences the connections that exist now to the server at addr (host:port).
// Connections that are opened later work, until the next vanish.
func (l *lab) vanish(addr string) {
	l.t.Helper()
	l.rule(addr, `
add set inet lab SET { type inet_service; }
add rule inet lab in REQUEST tcp flags & (syn | ack) == syn add @SET { tcp sport }
add rule inet lab in REQUEST tcp sport != @SET drop
add rule inet lab in ANSWER tcp dport != @SET drop`)
}

// blackhole drops all packets to and from the server at addr, those of new
// connections too: dials hang.
func (l *lab) blackhole(addr string) {
	l.t.Helper()
	l.rule(addr, `
add rule inet lab in REQUEST drop
add rule inet lab in ANSWER drop`)
}

// lose drops some of all packets to and from the server at addr, percent of 100. The
// kernels send them again, so that what they carried arrives late.
func (l *lab) lose(addr string, percent int) {
	l.t.Helper()
	chance := fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	l.rule(addr, `
add rule inet lab in REQUEST `+chance+`
add rule inet lab in ANSWER `+chance)
}

// forgetIdle puts a middlebox before the server at addr, such as a NAT or a balancer:
// a connection that carried no packet for so long is forgotten, and its packets are
// dropped without a word. Connections that exist already are unknown to it. What
// keep-alive probes do to it depends on their interval.
func (l *lab) forgetIdle(addr string, after time.Duration) {
	l.t.Helper()
	life := fmt.Sprintf("timeout %dms", after.Milliseconds())
	l.rule(addr, `
add set inet lab SET { type inet_service; flags dynamic,timeout; size 65535; }
add rule inet lab in REQUEST tcp flags & (syn | ack) == syn update @SET { tcp sport `+life+` } accept
add rule inet lab in REQUEST tcp sport @SET update @SET { tcp sport `+life+` } accept
add rule inet lab in ANSWER tcp dport @SET update @SET { tcp dport `+life+` } accept
add rule inet lab in REQUEST drop
add rule inet lab in ANSWER drop`)
}

// heal ends everything above: packets arrive again. What was sent meanwhile and not
// given up arrives late; a peer whose connection is gone answers with a reset.
func (l *lab) heal() {
	l.t.Helper()
	l.load("flush chain inet lab in")
}

// rule loads commands in which REQUEST matches packets to the server at addr, ANSWER
// those from it, and SET is a name of its own.
func (l *lab) rule(addr, commands string) {
	l.t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(l.t, err)
	l.rules++
	family := "ip"
	if strings.Contains(host, ":") {
		family = "ip6"
	}
	l.load(strings.NewReplacer(
		"SET", fmt.Sprintf("s%d", l.rules),
		"REQUEST", fmt.Sprintf("%s daddr %s tcp dport %s", family, host, port),
		"ANSWER", fmt.Sprintf("%s saddr %s tcp sport %s", family, host, port),
	).Replace(commands))
}
