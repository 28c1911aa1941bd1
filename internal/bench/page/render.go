package main

import (
	"fmt"
	"strings"
)

// render makes one table of all variants of a benchmark: times first, then what is
// the same in all of them.
func render(benchmarks []*benchmark) string {
	var s strings.Builder
	s.WriteString("| |")
	for _, b := range benchmarks {
		fmt.Fprintf(&s, " %s |", variant(b.name))
	}
	extra := "conns/1000"
	_, connections := benchmarks[0].units[extra]
	if connections {
		for _, b := range benchmarks {
			fmt.Fprintf(&s, " connections: %s |", variant(b.name))
		}
	}
	columns := strings.Count(s.String(), "|") - 1
	s.WriteString(" bytes | allocations |\n")
	s.WriteString(strings.Repeat("|---", columns+2) + "|\n")
	for _, lib := range benchmarks[0].libs {
		fmt.Fprintf(&s, "| %s |", lib)
		for _, b := range benchmarks {
			fmt.Fprintf(&s, " %s |", cell(b, lib))
		}
		if connections {
			for _, b := range benchmarks {
				f, _ := b.figure(extra, lib)
				fmt.Fprintf(&s, " %.0f |", f.median)
			}
		}
		fmt.Fprintf(&s, " %s | %s |\n", span(benchmarks, "B/op", lib), span(benchmarks, "allocs/op", lib))
	}
	return strings.TrimRight(s.String(), "\n")
}

// variant is what is behind a benchmark's own name.
func variant(name string) string {
	_, parts, ok := strings.Cut(name, "/")
	if !ok {
		return "time"
	}
	return strings.NewReplacer("/draw=", " ", "/conc=", ", ", "body=", "", "/", ", ", "=", " ").Replace(parts)
}

// cell is a time and how it compares to ours. Bold is a peer that is faster beyond
// noise.
func cell(b *benchmark, lib string) string {
	f, ok := b.figure("sec/op", lib)
	if !ok {
		return ""
	}
	text := duration(f.median)
	if f.spread != "" && f.spread != "∞" {
		text += " ± " + f.spread
	}
	switch {
	case f.versus == "" || f.versus == "?":
		return text
	case strings.HasPrefix(f.versus, "-"):
		return fmt.Sprintf("**%s (%s)**", text, f.versus)
	}
	return fmt.Sprintf("%s (%s)", text, f.versus)
}

// span is one number, or the least and the most of several.
func span(benchmarks []*benchmark, unit, lib string) string {
	var least, most float64
	for i, b := range benchmarks {
		f, _ := b.figure(unit, lib)
		if i == 0 {
			least, most = f.median, f.median
		}
		least, most = min(least, f.median), max(most, f.median)
	}
	if least == most {
		return fmt.Sprintf("%.0f", most)
	}
	return fmt.Sprintf("%.0f..%.0f", least, most)
}

// duration is a time with three digits.
func duration(seconds float64) string {
	for _, unit := range []struct {
		name string
		size float64
	}{{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}} {
		if seconds >= unit.size {
			return fmt.Sprintf("%.3g %s", seconds/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3g ns", seconds/1e-9)
}
