//go:build linux

package service

import (
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
	const text = "%s is not installed: apt-get install -y %s"
	if os.Getenv(requireVariable) == "required" {
		tb.Fatalf(text+" (%s=required)", program, debian, requireVariable)
	}
	tb.Skipf(text, program, debian)
	return ""
}
