package connhygiene_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
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
			require.True(t, strings.Contains(code, unindented(block[1])), "a block of %s stands in no example or test:\n%s", page, block[1])
		}
	}
}

// So are the Go blocks of package comments.
func TestUsageIsTestedCode(t *testing.T) {
	code := unindented(testedCode(t))
	found := 0
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		require.NoError(t, err)
		if file.Doc == nil {
			return
		}
		for _, block := range regexp.MustCompile(`(?m)(^\t.*\n|^\n)+`).FindAllString(file.Doc.Text(), -1) {
			if block = strings.TrimSpace(unindented(block)); isGo(block) {
				found++
				require.True(t, strings.Contains(code, block), "a block of the comment in %s stands in no example or test:\n%s", path, block)
			}
		}
	})
	require.Greater(t, found, 10)
}

// isGo tells code from tables, commands and settings of other programs.
func isGo(block string) bool {
	if block == "" {
		return false
	}
	for _, file := range []string{"package p\n" + block, "package p\nfunc _() {\n" + block + "\n}"} {
		if _, err := parser.ParseFile(token.NewFileSet(), "", file, parser.SkipObjectResolution); err == nil {
			return true
		}
	}
	return false
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

// The README's rows and the variants of the storm that they are of.
var variants = map[string]string{"nothing": "naive", "clients only": "client", "the lookup only": "cache", "the server": "gate", "server and clients": "pacer"}

// The README's figures are those of the table in docs/STORM.md, in seconds instead of bounds.
func TestReadmeFiguresAreOfTheStorm(t *testing.T) {
	const bound = 800.0 / 60
	rows := rowsOf(t, "docs/STORM.md", "| arm | back |")
	for _, row := range rowsOf(t, "README.md", "| changed | agents back |") {
		for name, arm := range variants {
			if !strings.HasPrefix(row[0], name+" (") {
				continue
			}
			storm := find(t, rows, "`"+arm+"`")
			want := storm[1] + " of 800, the rest never"
			if last, err := strconv.ParseFloat(storm[4], 64); err == nil {
				want = fmt.Sprintf("all after %.1f s", last*bound)
			}
			require.Equal(t, want, row[1], row[0])
			require.Equal(t, rounded(t, storm[5], 1), row[2], row[0])
			require.Equal(t, strings.TrimSuffix(rounded(t, storm[8], 1), ".0"), row[3], row[0])
		}
	}
}

// rowsOf returns the cells of the rows of the table that begins so.
func rowsOf(t *testing.T, page, head string) (rows [][]string) {
	_, table, ok := strings.Cut(read(t, page), head)
	require.True(t, ok, page)
	_, table, _ = strings.Cut(table, "\n") // the rest of the head
	_, table, _ = strings.Cut(table, "\n") // the line under it
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	require.NotEmpty(t, rows, page)
	return rows
}

func find(t *testing.T, rows [][]string, name string) []string {
	for _, row := range rows {
		if row[0] == name {
			return row
		}
	}
	t.Fatalf("no row %s", name)
	return nil
}

func rounded(t *testing.T, figure string, digits int) string {
	f, err := strconv.ParseFloat(figure, 64)
	require.NoError(t, err)
	return strconv.FormatFloat(f, 'f', digits, 64)
}
