//go:build !linux && !darwin

package storm

import "math"

// descriptorLimit knows of no limit here.
func descriptorLimit() uint64 { return math.MaxUint64 }
