package bench_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A table is what a test of behaviour has found, for the log and for the page.
type table struct {
	name string // of the file in BENCH_TABLES, from which the page takes it
	rows [][]string
}

func newTable(name string, header ...any) *table {
	tab := &table{name: name}
	tab.add(header...)
	return tab
}

// add appends one row. Cells with an underscore or a star are code.
func (tab *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = fmt.Sprint(cell)
	}
	tab.rows = append(tab.rows, row)
}

func (tab *table) String() string {
	var s strings.Builder
	for i, row := range tab.rows {
		fmt.Fprintf(&s, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&s, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	return s.String()
}

// show logs the table, and keeps it if scripts/bench.sh asks for that.
func (tab *table) show(t *testing.T) {
	t.Helper()
	t.Logf("%s\n%s", tab.name, tab)
	if dir := os.Getenv("BENCH_TABLES"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, tab.name+".md"), []byte(tab.String()), 0o644))
	}
}

// full reports whether figures for the page are wanted, for which experiments take longer.
func full() bool { return os.Getenv("BENCH_FULL") != "" }

// turned begins with another library in each round of scripts/bench.sh: whoever is
// first pays for what the process does for the first time.
func turned[T any](libs []T) []T {
	round, _ := strconv.Atoi(os.Getenv("BENCH_ROUND"))
	n := max(round-1, 0) % len(libs)
	return slices.Concat(libs[n:], libs[:n])
}

func percent(part, whole int) string { return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole)) }

// ratio returns a/b with two digits.
func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f", float64(a)/float64(b)) }

// isErr says whether err is target, in the words of a table.
func isErr(err, target error) string {
	if errors.Is(err, target) {
		return "yes"
	}
	return "no"
}
