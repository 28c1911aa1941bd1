// Command treecheck checks the rules of this repository that no linter off the
// shelf knows: the shape of its modules and imports, documentation that misses
// no name and no field, tests that never sleep.
//
// Usage:
//
//	treecheck [-examples report|fail] [directory]
//
// It prints one line a finding, as file:line: rule: text, and exits with status 1
// if there is one that counts. With -examples report, a name without an Example
// is printed and does not count.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

// A finding is one place that breaks a rule.
type finding struct {
	path string
	line int // 0 if the whole file is meant
	text string
}

// A rule looks at the whole tree and returns what breaks it.
type rule struct {
	name  string
	check func(*tree) []finding
}

// rules in the order in which they are printed.
var rules = []rule{
	{"requirements", checkRequirements},
	{"arrows", checkArrows},
	{"docs", checkDocs},
	{"examples", checkExamples},
	{"sleep", checkSleep},
	{"goleak", checkGoleak},
	{"paths", checkPaths},
}

func main() {
	flags := flag.NewFlagSet("treecheck", flag.ExitOnError)
	examples := flags.String("examples", "fail", "what a name without an Example does: report or fail")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	if *examples != "report" && *examples != "fail" {
		fmt.Fprintf(os.Stderr, "treecheck: -examples is %q, want report or fail\n", *examples)
		os.Exit(2)
	}
	t, err := load(os.DirFS(cmp.Or(flags.Arg(0), ".")))
	if err != nil {
		fmt.Fprintln(os.Stderr, "treecheck:", err)
		os.Exit(2)
	}
	if count := run(os.Stdout, t, *examples == "report"); count > 0 {
		fmt.Fprintf(os.Stderr, "treecheck: %d findings\n", count)
		os.Exit(1)
	}
}

// run prints the findings of every rule and returns how many of them count.
func run(w io.Writer, t *tree, reportExamples bool) int {
	count := 0
	for _, r := range rules {
		found := r.check(t)
		slices.SortStableFunc(found, func(a, b finding) int {
			return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.line, b.line))
		})
		for _, f := range found {
			fmt.Fprintf(w, "%s:%d: %s: %s\n", f.path, max(f.line, 1), r.name, f.text)
		}
		if r.name != "examples" || !reportExamples {
			count += len(found)
		}
	}
	return count
}
