// Package figures names each number in each Stats of the library once, for
// Prometheus (contrib/promstats) and for OpenTelemetry (contrib/otelstats).
//
// A test looks at the Stats by reflection and fails for a field that is missing here.
// The contrib modules that use this package require a released version of the root
// module, and must build with every later one: names are added here, never changed.
package figures

import (
	"strings"
	"time"
)

// Figure is one number in a Stats of type S, or one for each value of a label.
type Figure[S any] struct {
	Name    string // Name is what OpenTelemetry calls it, such as "connhygiene.ttlcache.hits".
	Unit    string // Unit is in UCUM: "s", "By", or a thing in braces.
	Help    string // Help is a sentence.
	Counter bool   // Counter tells what only grows from a gauge.
	Label   string // Label is what tells several series apart; "" if there is one.

	// Each calls yield with every value there is, and with that of Label.
	Each func(s S, yield func(label string, value float64))
}

// Prometheus returns the name by that system's rules: the unit and, for counters,
// _total at the end. OpenTelemetry's exporter for Prometheus makes the same of Name.
func (f Figure[S]) Prometheus() string {
	name := strings.ReplaceAll(f.Name, ".", "_")
	switch f.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	}
	if f.Counter {
		name += "_total"
	}
	return name
}

func counter[S any, N uint64 | int64](name, unit, help string, read func(S) N) Figure[S] {
	f := gauge(name, unit, help, read)
	f.Counter = true
	return f
}

func gauge[S any, N uint64 | int64 | int | float64](name, unit, help string, read func(S) N) Figure[S] {
	return Figure[S]{Name: name, Unit: unit, Help: help, Each: func(s S, yield func(string, float64)) {
		yield("", float64(read(s)))
	}}
}

func seconds[S any](name, help string, read func(S) time.Duration) Figure[S] {
	return Figure[S]{Name: name, Unit: "s", Help: help, Counter: true, Each: func(s S, yield func(string, float64)) {
		yield("", read(s).Seconds())
	}}
}
