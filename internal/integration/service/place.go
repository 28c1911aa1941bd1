//go:build linux

package service

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"testing"
)

// A place is where a server lives: a directory and who owns it.
type place struct {
	dir  string
	user *syscall.Credential // nil: whoever runs the test
}

// newPlace makes a directory that a server may write to, and that goes when the
// test ends. It is not tb.TempDir, whose parent is closed to other users.
func newPlace(tb testing.TB, name string) place {
	tb.Helper()
	dir, err := os.MkdirTemp("", "connhygiene-"+name+"-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("cannot remove the directory of %s: %v", name, err)
		}
	})
	p := place{dir: dir, user: ordinaryUser(tb)}
	p.own(tb, dir)
	return p
}

// write puts a file into the directory and returns its path.
func (p place) write(tb testing.TB, name, text string) string {
	tb.Helper()
	path := p.dir + "/" + name
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	p.own(tb, path)
	return path
}

func (p place) own(tb testing.TB, path string) {
	tb.Helper()
	if p.user == nil {
		return
	}
	if err := os.Chown(path, int(p.user.Uid), int(p.user.Gid)); err != nil {
		tb.Fatal(err)
	}
}

// ordinaryUser returns who a server runs as when the test runs as root.
func ordinaryUser(tb testing.TB) *syscall.Credential {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	tb.Fatal("running as root, and there is neither a user postgres nor a user nobody to run servers as")
	return nil
}

// freePort returns a port of 127.0.0.1 that nobody listens on, below those that
// the kernel hands to clients. A port of theirs could be taken by a connection
// while its server restarts, or even connect to itself.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
		return port
	}
	tb.Fatal("no free port between 20000 and 32000")
	return 0
}
