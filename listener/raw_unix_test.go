//go:build unix

package listener_test

import (
	"path/filepath"
	"testing"
)

func TestDrainAfterRebalanceOfUnixSockets(t *testing.T) {
	drainAfterRebalance(t, "unix", filepath.Join(t.TempDir(), "s"))
}
