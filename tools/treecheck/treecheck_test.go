package main

import (
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const rootMod = `module github.com/connhygiene/connhygiene

go 1.26.0

require (
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.25.0
	golang.org/x/time v0.16.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
`

// plant returns a tree with these files, path and content in turn, and a go.mod
// without fault unless one is among them.
func plant(t *testing.T, files ...string) *tree {
	t.Helper()
	fsys := fstest.MapFS{"go.mod": {Data: []byte(rootMod)}}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	planted, err := load(fsys)
	require.NoError(t, err)
	return planted
}

// texts returns what a rule says, each with its file.
func texts(found []finding) []string {
	said := []string{}
	for _, f := range found {
		said = append(said, f.path+": "+f.text)
	}
	return said
}

func TestRequirements(t *testing.T) {
	nested := "module m\n\ngo 1.26.0\n\nrequire " + modulePath + " v0.0.0\n"
	require.Empty(t, checkRequirements(plant(t, "internal/bench/go.mod", nested+"replace "+modulePath+" => ../..\n")))

	stray := strings.Replace(rootMod, "require (", "require (\n\tgithub.com/google/uuid v1.6.0", 1)
	require.Equal(t, []string{"go.mod: stray direct requirement github.com/google/uuid"},
		texts(checkRequirements(plant(t, "go.mod", stray))))

	gone := strings.Replace(rootMod, "\tgolang.org/x/time v0.16.0\n", "", 1)
	require.Equal(t, []string{"go.mod: requirement is gone: golang.org/x/time"},
		texts(checkRequirements(plant(t, "go.mod", gone))))

	replaced := rootMod + "replace golang.org/x/time => ../time\n"
	require.Len(t, checkRequirements(plant(t, "go.mod", replaced)), 1)

	require.Len(t, checkRequirements(plant(t, "internal/bench/go.mod", nested)), 1)
	require.Len(t, checkRequirements(plant(t, "internal/bench/go.mod", nested+"replace "+modulePath+" => ../\n")), 1)
	require.Len(t, checkRequirements(plant(t, "go.work", "go 1.26.0\nuse .\n")), 1)
}

func TestArrows(t *testing.T) {
	imports := func(file, imported string) int {
		pkg := "p"
		if strings.HasPrefix(file, "examples/") {
			pkg = "main"
		}
		return len(checkArrows(plant(t, file, "package "+pkg+"\n\nimport _ \""+imported+"\"\n")))
	}
	for _, ok := range [][2]string{
		{"dbpool/dial.go", modulePath + "/backoff"},
		{"listener/listenertest/l.go", modulePath + "/listener"},
		{"listener/rate.go", "golang.org/x/time/rate"},
		{"listener/l_test.go", modulePath + "/listener/listenertest"},
		{"internal/storm/s.go", modulePath + "/dbpool/dbpooltest"},
		{"examples/storm/main.go", modulePath + "/backoff"},
	} {
		require.Zero(t, imports(ok[0], ok[1]), ok)
	}
	for _, bad := range [][2]string{
		{"backoff/b.go", modulePath + "/dbpool"},
		{"dbpool/dial.go", modulePath + "/listener"},
		{"dbpool/dial.go", modulePath + "/dbpool/dbpooltest"},
		{"dbpool/dbpooltest/s.go", modulePath + "/backoff"},
		{"dbpool/dbpooltest/s.go", "golang.org/x/sync/errgroup"},
		{"listener/l.go", "github.com/stretchr/testify/require"},
		{"internal/storm/s.go", "go.uber.org/goleak"},
	} {
		require.Equal(t, 1, imports(bad[0], bad[1]), bad)
	}
}

func TestGoleak(t *testing.T) {
	const test = "package p\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) {}\n"
	const main = "package p\n\nimport \"testing\"\n\nfunc TestMain(m *testing.M) { goleak.VerifyTestMain(m) }\n"
	require.Len(t, checkGoleak(plant(t, "backoff/b_test.go", test)), 1)
	require.Empty(t, checkGoleak(plant(t, "backoff/b_test.go", test, "backoff/main_test.go", main)))
}

func TestPaths(t *testing.T) {
	join := func(parts ...string) string { return strings.Join(parts, "/") }
	for _, bad := range []string{
		join("see ", "root", "notes"), join("cd ", "work", "main"), join("`", "home", "jo", "x"),
		join("=", "Users", "jo", "x"), `"C:` + `\Users\jo\x"`,
	} {
		require.Len(t, checkPaths(plant(t, "README.md", "# x\n\n"+bad+"\n")), 1, bad)
	}
	for _, ok := range []string{join("https://example.com", "work", "x"), join("internal", "work", "x"), "/var/run/x", "/root", "GET /workers/1"} {
		require.Empty(t, checkPaths(plant(t, "README.md", ok)), ok)
	}
}

func TestSleep(t *testing.T) {
	const imports = "package p\n\nimport (\n\t\"testing\"\n\t\"testing/synctest\"\n\t\"time\"\n)\n\n"
	inside := imports + "func TestX(t *testing.T) {\n\tsynctest.Test(t, func(t *testing.T) { time.Sleep(1) })\n}\n"
	outside := imports + "func TestY(t *testing.T) {\n\tsynctest.Test(t, nil)\n\ttime.Sleep(1)\n}\n"
	helper := "package p\n\nimport \"time\"\n\nfunc serve() { time.Sleep(1) }\n"
	renamed := "package p\n\nimport clock \"time\"\n\nfunc ExampleX() { clock.Sleep(1) }\n"

	wrapper := imports + "func bubble(t *testing.T, f func()) {\n\tsynctest.Test(t, func(*testing.T) { f() })\n}\n"
	wrapped := "package p\n\nimport \"time\"\n\nfunc TestZ(t *testing.T) {\n\tbubble(t, func() { time.Sleep(1) })\n}\n"

	require.Empty(t, checkSleep(plant(t, "p/a_test.go", wrapper, "p/b_test.go", wrapped)))
	require.Len(t, checkSleep(plant(t, "p/a_test.go", inside, "p/b_test.go", wrapped)), 1, "not the bubble of this package")
	require.Empty(t, checkSleep(plant(t, "p/a_test.go", inside, "p/b_test.go", helper, "p/c.go", helper)))
	require.Len(t, checkSleep(plant(t, "p/a_test.go", outside)), 1)
	require.Len(t, checkSleep(plant(t, "p/a_test.go", helper)), 1, "no bubble in the package")
	require.Len(t, checkSleep(plant(t, "p/a_test.go", renamed, "p/b_test.go", inside)), 1)
}

func TestDocs(t *testing.T) {
	const src = `// Package p is here.
package p

// A Good one.
type Good struct {
	// Min, Max time are bounds.
	Min, Max int

	Open int // Open is how many.

	Bare   int
	hidden int
	Deep   struct{ Field int } // Deep is deep.
}

type Undocumented interface{ Method() }

// Wrong is the first word of another name.
func Right() {}

// Fragment without an end
func Fragment() {}

func (Good) Method() {}

func (hiding) Method() {}

type hiding struct{ Field int }

// Modes of it.
const (
	One = iota // One is the first.
	Two
)

// ErrX is alone.
var ErrX error

//go:noinline
func Directive() {}
`
	said := []string{}
	for _, f := range checkDocs(plant(t, "p/p.go", src)) {
		said = append(said, f.text)
	}
	require.Equal(t, []string{
		`Good.Bare is not documented`,
		`Good.Deep.Field is not documented`,
		`Undocumented is not documented`,
		`Undocumented.Method is not documented`,
		`Right has a comment that begins with "Wrong"`,
		`Fragment has a comment that is no full sentence`,
		`Good.Method is not documented`,
		`Two is not documented`,
		`Directive is not documented`,
	}, said)

	require.Equal(t, []string{"p/p.go: the package has no comment"}, texts(checkDocs(plant(t, "p/p.go", "package p\n"))))
	require.Empty(t, checkDocs(plant(t, "p/p.go", "package main\n\nfunc X() {}\n", "p/p_test.go", "package main\n\nfunc Y() {}\n")))
}

func TestExamples(t *testing.T) {
	const src = "package p\n\ntype T struct{}\n\ntype Idle struct{}\n\nfunc New() T { return T{} }\n\nfunc (T) M() {}\n"
	const test = `package p_test

func ExampleT_M() {
	// Output: x
}

func ExampleNew() {
	// Unordered output: x
}

func ExampleIdle() {
}
`
	require.Equal(t, []string{"p/p.go: Idle has no Example with Output"},
		texts(checkExamples(plant(t, "p/p.go", src, "p/p_test.go", test))))
	require.Empty(t, checkExamples(plant(t, "internal/p/p.go", src, "p/ptest/p.go", src)))
}

func TestRunCountsExamplesOnlyWhenAsked(t *testing.T) {
	planted := plant(t, "p/p.go", "// Package p is here.\npackage p\n\n// F is one.\nfunc F() {}\n")
	require.Equal(t, 1, run(io.Discard, planted, false))
	require.Zero(t, run(io.Discard, planted, true))
}

func TestLoadWantsTheRoot(t *testing.T) {
	_, err := load(fstest.MapFS{"a.go": {Data: []byte("package a\n")}})
	require.ErrorContains(t, err, "not the root")
}
