//go:build linux

package service

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// requireVariable names the environment variable that turns a skip into a failure.
const requireVariable = "CONNHYGIENE_SERVICES"

// find returns the path of a program that the Debian package brings. It looks where
// Debian puts PostgreSQL, newest last, then at PATH, then at the places of daemons,
// which a user's PATH often lacks.
func find(tb testing.TB, program, debian string) string {
	tb.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if path, err := exec.LookPath(program); err == nil {
		found = append([]string{path}, found...)
	}
	if len(found) > 0 {
		return found[len(found)-1]
	}
	for _, dir := range []string{"/usr/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path
		}
	}
	Missing(tb, fmt.Sprintf("%s is not installed: apt-get install -y %s", program, debian))
	return ""
}

// Find returns the path of a program that the Debian package brings. Without it, the
// test is skipped, or fails if services are required.
func Find(tb testing.TB, program, debian string) string {
	tb.Helper()
	return find(tb, program, debian)
}

// Missing skips the test because of what this machine lacks, or fails it if services
// are required (CONNHYGIENE_SERVICES=required).
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv(requireVariable) == "required" {
		tb.Fatalf("%s (%s=required)", what, requireVariable)
	}
	tb.Skip(what)
}
