// Command words counts, in the documentation comments of each package and in each
// Markdown page, the constructions that make readers read twice: clauses headed by what,
// who or whoever, nobody and somebody as subjects, a caller who is a he, and terms of the
// field that are missing. CONTRIBUTING.md, "Words", has the limits.
//
//	go run ./words ..          print the table, and fail if a limit is exceeded
//	go run ./words -v ..       print each sentence as well
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxHeads is how many clause heads a thousand words may have. Fourteen well-read Go
// packages have 0 to 1.2.
const maxHeads = 1.5

// leastWords is the length from which the rate of a text says something.
const leastWords = 600

var (
	word   = regexp.MustCompile(`[A-Za-z][A-Za-z'-]*`)
	heads  = regexp.MustCompile(`(?i)\b(what|whatever|who|whoever|whom)\b`)
	people = regexp.MustCompile(`(?i)\b(nobody|somebody|everybody|anybody|those who)\b`)
	he     = regexp.MustCompile(`\b(?i:he|his|him)\b`)
)

// terms are those that a newcomer searches for, by the text that has to have them.
var terms = map[string][]string{
	"README.md":  {"exponential backoff", "thundering herd", "load shedding", "connection pool", "graceful", "jitter", "admission control", "connection reuse"},
	"backoff":    {"exponential backoff", "jitter", "retry", "reconnect", "thundering herd", "load shedding", "admission control"},
	"ttlcache":   {"auth cache", "negative caching", "request coalescing", "thundering herd", "load shedding", "concurrency limit"},
	"transport":  {"connection reuse", "keep-alive", "connection pool"},
	"listener":   {"admission control", "load shedding", "concurrency limit", "thundering herd", "graceful shutdown", "keep-alive"},
	"dbpool":     {"connection pool", "exponential backoff", "thundering herd"},
	"dbpooltest": {"connection pool"},
}

// A count is a row of the table.
type count struct {
	name                     string
	words, heads, people, he int
	missing                  []string
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("words", flag.ContinueOnError)
	flags.SetOutput(stderr)
	verbose := flags.Bool("v", false, "print each line that counts")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "words: want the root of the repository")
		return 2
	}
	texts, err := collect(flags.Arg(0))
	if err != nil {
		fmt.Fprintln(stderr, "words:", err)
		return 2
	}
	var lines io.Writer = io.Discard
	if *verbose {
		lines = stdout
	}
	if bad := report(texts, stdout, lines); len(bad) > 0 {
		fmt.Fprintf(stderr, "words: %s\n", strings.Join(bad, "; "))
		return 1
	}
	return 0
}

// collect returns the prose of each package and page.
func collect(root string) (map[string]string, error) {
	texts, err := pages(root)
	if err != nil {
		return nil, err
	}
	return texts, packages(root, texts)
}

func pages(root string) (map[string]string, error) {
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "contrib/*/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(root, file)
			if err != nil {
				return nil, err
			}
			texts[filepath.ToSlash(name)] = withoutFences(string(b))
		}
	}
	return texts, nil
}

// withoutFences drops code blocks.
func withoutFences(page string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			b.WriteString(line)
		}
	}
	return b.String()
}

func report(texts map[string]string, out, lines io.Writer) (bad []string) {
	fmt.Fprintf(out, "%-28s %6s %12s %14s %4s  %s\n", "text", "words", "what/who /k", "nobody.. /k", "he", "missing terms")
	for _, name := range sorted(texts) {
		c := counted(name, texts[name], lines)
		per := func(n int) float64 { return 1000 * float64(n) / float64(max(c.words, 1)) }
		fmt.Fprintf(out, "%-28s %6d %12.1f %14.1f %4d  %s\n", c.name, c.words, per(c.heads), per(c.people), c.he, strings.Join(c.missing, ", "))
		if float64(c.heads) > maxHeads*float64(max(c.words, leastWords))/1000 {
			bad = append(bad, fmt.Sprintf("%s: %.1f clause heads in 1000 words", name, per(c.heads)))
		}
		if c.he > 0 {
			bad = append(bad, fmt.Sprintf("%s: %d times he or his", name, c.he))
		}
		if len(c.missing) > 0 {
			bad = append(bad, fmt.Sprintf("%s: no %q", name, c.missing))
		}
	}
	return bad
}

func counted(name, text string, lines io.Writer) count {
	c := count{name: name}
	for line := range strings.Lines(text) {
		found := len(heads.FindAllString(line, -1))
		c.heads += found
		c.people += len(people.FindAllString(line, -1))
		c.he += len(he.FindAllString(line, -1))
		c.words += len(word.FindAllString(line, -1))
		if found > 0 || he.MatchString(line) {
			fmt.Fprintf(lines, "%s: %s\n", name, strings.TrimSpace(line))
		}
	}
	low := strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, term := range terms[name] {
		if !strings.Contains(low, term) {
			c.missing = append(c.missing, term)
		}
	}
	return c
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
