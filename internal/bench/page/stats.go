package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A figure is one cell of benchstat.
type figure struct {
	median float64 // in the unit's base: seconds, bytes, allocations
	spread string  // "± 3%"
	versus string  // against the first column, ours; "~" is noise
}

// A benchmark is one row of benchstat, over all units.
type benchmark struct {
	name  string // with its variant, without the library
	libs  []string
	units map[string]map[string]figure // by unit and library
}

// stats are the benchmarks in the order in which they ran.
type stats []*benchmark

func (s stats) named(name string) []*benchmark {
	var found []*benchmark
	for _, b := range s {
		if base, _, _ := strings.Cut(b.name, "/"); base == name {
			found = append(found, b)
		}
	}
	return found
}

func (b *benchmark) figure(unit, lib string) (figure, bool) {
	f, ok := b.units[unit][lib]
	return f, ok
}

// seconds is the median time of one library; it must be there.
func (b *benchmark) seconds(lib string) float64 { return b.units["sec/op"][lib].median }

func (b *benchmark) allocs(lib string) float64 { return b.units["allocs/op"][lib].median }

// fastest returns the library that takes least, without those of ours.
func (b *benchmark) fastest() string {
	peers := slices.DeleteFunc(slices.Clone(b.libs), func(lib string) bool { return strings.HasPrefix(lib, "ours") })
	return slices.MinFunc(peers, func(x, y string) int { return cmp.Compare(b.seconds(x), b.seconds(y)) })
}

// parse reads benchstat's CSV: a block for each unit, which begins with a line of
// libraries and a line of units.
func parse(r io.Reader) (stats, error) {
	var s stats
	var block [][]string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if err := s.add(block); err != nil {
				return nil, err
			}
			block = nil
			continue
		}
		record, err := csv.NewReader(strings.NewReader(line)).Read()
		if err != nil {
			return nil, err
		}
		if block != nil || record[0] == "" { // before the first block there is the configuration
			block = append(block, record)
		}
	}
	if err := s.add(block); err != nil {
		return nil, err
	}
	return s, lines.Err()
}

func (s *stats) add(block [][]string) error {
	if len(block) < 3 {
		return nil
	}
	libs, unit := block[0], block[1][1]
	for _, row := range block[2:] {
		if row[0] == "geomean" {
			continue
		}
		b := s.benchmark(strings.TrimRight(strings.TrimRight(row[0], "0123456789"), "-"))
		for i, lib := range libs {
			if lib == "" || i+1 >= len(row) || row[i] == "" {
				continue
			}
			if err := b.set(unit, lib, row[i:], block[1][i:]); err != nil {
				return fmt.Errorf("%s: %w", row[0], err)
			}
		}
	}
	return nil
}

// benchmark returns the one of that name, new if need be.
func (s *stats) benchmark(name string) *benchmark {
	for _, b := range *s {
		if b.name == name {
			return b
		}
	}
	b := &benchmark{name: name, units: map[string]map[string]figure{}}
	*s = append(*s, b)
	return b
}

// set stores a cell: its median, its spread and, but for the first library, how it
// compares.
func (b *benchmark) set(unit, lib string, cells, heads []string) error {
	median, err := strconv.ParseFloat(cells[0], 64)
	if err != nil {
		return err
	}
	f := figure{median: median, spread: cells[1]}
	if len(heads) > 2 && heads[2] == "vs base" && len(cells) > 2 {
		f.versus = cells[2]
	}
	if b.units[unit] == nil {
		b.units[unit] = map[string]figure{}
	}
	b.units[unit][lib] = f
	if !slices.Contains(b.libs, lib) {
		b.libs = append(b.libs, lib)
	}
	return nil
}
