package migrating

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page shows the code of these tests and no other, and all of it that is called
// before or after.
func TestPageIsThisCode(t *testing.T) {
	page := read(t, "../../docs/MIGRATING.md")
	shown := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(page, -1) {
		shown[block[1]] = true
	}
	code := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	for _, file := range files {
		for _, fn := range regexp.MustCompile(`(?ms)^func (?:\w+)(?:Before|After)\(.*?^}\n`).FindAllString(read(t, file), -1) {
			code[fn] = true
		}
	}
	require.NotEmpty(t, code)
	for fn := range code {
		require.True(t, shown[fn], "not on the page:\n%s", fn)
	}
	for block := range shown {
		require.True(t, code[block], "on the page, but not in the tests:\n%s", block)
	}
}

// Every section says when to stay.
func TestPageSaysWhenToStay(t *testing.T) {
	sections := strings.Split(read(t, "../../docs/MIGRATING.md"), "\n## From ")[1:]
	require.Len(t, sections, 10)
	for _, section := range sections {
		title, text, _ := strings.Cut(section, "\n")
		require.Regexp(t, `(?m)^\*\*Stay\*\* `, text, title)
		require.Less(t, strings.Index(text, "Before("), strings.Index(text, "After("), title)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
