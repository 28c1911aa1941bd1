package connhygiene_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pages whose Go blocks are code that is compiled and run elsewhere in the repository.
// docs/MIGRATING.md has a test of its own in internal/migrating.
var tested = []string{"README.md", "docs/TUTORIAL.md", "docs/HOWTO.md", "docs/OPERATING.md"}

func TestGoBlocksAreTestedCode(t *testing.T) {
	code := unindented(testedCode(t))
	for _, page := range tested {
		text := read(t, page)
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(text, -1) {
			require.Contains(t, code, unindented(block[1]), "a block of %s stands in no example or test", page)
		}
	}
}

// testedCode is all examples: those of packages and the programs.
func testedCode(t *testing.T) string {
	var b strings.Builder
	walk(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "examples/") && strings.HasSuffix(path, ".go") {
			b.WriteString(read(t, path))
		}
	})
	return b.String()
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Every relative link leads to a file, and to a heading of it if it names one.
func TestRelativeLinks(t *testing.T) {
	pages := 0
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".md") {
			return
		}
		pages++
		for _, found := range link.FindAllStringSubmatch(withoutFences(read(t, path)), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") {
				continue
			}
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			require.FileExists(t, file+suffixOfDir(file), "%s links to %s", path, found[1])
			if anchor != "" {
				require.Contains(t, anchors(read(t, file)), anchor, "%s links to %s", path, found[1])
			}
		}
	})
	require.Greater(t, pages, 5)
}

// suffixOfDir lets a link to a directory count as one to a file in it.
func suffixOfDir(path string) string {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return ""
	}
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if !e.IsDir() {
			return "/" + e.Name()
		}
	}
	return "/"
}

// anchors are the names that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(withoutFences(page)) {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		name := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
		name = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`).ReplaceAllString(name, "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

func withoutFences(page string) string {
	return regexp.MustCompile("(?sm)^ *```.*?^ *```").ReplaceAllString(page, "")
}

func walk(t *testing.T, visit func(path string)) {
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() {
			visit(path)
		}
		return err
	})
	require.NoError(t, err)
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
