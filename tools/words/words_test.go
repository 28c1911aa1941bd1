package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	terms := "exponential backoff thundering herd load shedding connection pool graceful jitter admission control connection\nreuse"
	write("README.md", terms+"\n```\nwho who who he\n```\n")
	write("docs/A.md", strings.Repeat("Who waits. ", 3)+"He left.")
	write("a/a.go", "// Package a does what it does.\n//\n//\twho\npackage a\n\n// B is what.\ntype B struct {\n\tC int // C is.\n\td int // who\n}\n\n// who\nfunc e() {}\n")
	write("a/a_test.go", "// who\npackage a\n")
	write("internal/b/b.go", "// who\npackage b\n")
	var out, errs bytes.Buffer
	if got := run([]string{"-v", root}, &out, &errs); got != 1 {
		t.Fatalf("%d\n%s%s", got, &out, &errs)
	}
	want := "words: a: 181.8 clause heads in 1000 words; docs/A.md: 375.0 clause heads in 1000 words; docs/A.md: 1 times he or his\n"
	if errs.String() != want {
		t.Errorf("got  %swant %s\n%s", &errs, want, &out)
	}
}
