// Command page makes docs/BENCHMARKS.md out of what scripts/bench.sh has measured.
//
// Usage:
//
//	page -dir DIRECTORY -command TEXT -rounds N -date DATE -note TEXT
//
// The directory holds stats.csv and stats-NAME.txt, which benchstat wrote with
// -col /lib, tables/NAME.md, which the tests of behaviour wrote, peers.txt, and
// cpu.txt. The page goes to standard output; bounds that do not hold, to standard
// error as well.
package main

import (
	"embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var templates embed.FS

// A page is what the template sees.
type page struct {
	Command, Date string
	Note          string
	Rounds        int
	CPU, Go       string
	Cores         int
	Peers         string

	dir   string
	stats stats
}

func main() {
	p := page{Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	flag.StringVar(&p.dir, "dir", "", "where the measurements are")
	flag.StringVar(&p.Command, "command", "make bench", "what was run")
	flag.IntVar(&p.Rounds, "rounds", 0, "how many times")
	flag.StringVar(&p.Date, "date", "", "when")
	flag.StringVar(&p.Note, "note", "", "what a reader should know about this run")
	flag.Parse()
	if err := p.write(); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func (p *page) write() error {
	f, err := os.Open(filepath.Join(p.dir, "stats.csv"))
	if err != nil {
		return err
	}
	defer f.Close()
	if p.stats, err = parse(f); err != nil {
		return err
	}
	if p.CPU, err = p.read("cpu.txt"); err != nil {
		return err
	}
	if p.Peers, err = p.read("peers.txt"); err != nil {
		return err
	}
	t, err := template.ParseFS(templates, "page.md.tmpl")
	if err != nil {
		return err
	}
	for _, b := range bounds(p.stats) {
		if p.Rounds >= 4 && !b.ok { // fewer are a smoke test
			fmt.Fprintf(os.Stderr, "%s: %s\n", b.verdict(), b)
		}
	}
	return t.Execute(os.Stdout, p)
}

func (p *page) read(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	return strings.TrimRight(string(text), "\n"), err
}

// Table is a table of behaviour.
func (p *page) Table(name string) (string, error) {
	return p.read(filepath.Join("tables", name+".md"))
}

// A raw is what benchstat says of one benchmark.
type raw struct{ Name, Text string }

// Raws are those of all benchmarks, in the order in which they ran.
func (p *page) Raws() ([]raw, error) {
	var all []raw
	for _, b := range p.stats {
		name, _, _ := strings.Cut(b.name, "/")
		if len(all) > 0 && all[len(all)-1].Name == name {
			continue
		}
		text, err := p.read("stats-" + name + ".txt")
		if err != nil {
			return nil, err
		}
		all = append(all, raw{name, text})
	}
	return all, nil
}

// Bench is the table of one benchmark: a row for each library, a column for each
// variant.
func (p *page) Bench(name string) (string, error) {
	benchmarks := p.stats.named(name)
	if len(benchmarks) == 0 {
		return "", fmt.Errorf("no benchmark %s", name)
	}
	return render(benchmarks), nil
}

// Noisy reports whether a bound is lost in noise.
func (p *page) Noisy() bool {
	return slices.ContainsFunc(bounds(p.stats), func(b bound) bool { return !b.ok && b.noise })
}

// Bounds is the table of what the project demands of itself.
func (p *page) Bounds() string {
	var s strings.Builder
	s.WriteString("| | measured | demanded | |\n|---|---|---|---|\n")
	for _, b := range bounds(p.stats) {
		fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", b.what, b.measured, b.demanded, b.verdict())
	}
	return strings.TrimRight(s.String(), "\n")
}
