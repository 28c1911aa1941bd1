package storm_test

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // a storm makes a lot of garbage and keeps little
	goleak.VerifyTestMain(m)
}
