package main

import (
	"go/ast"
	"strings"
)

// loggers would write where nobody asked them to; users log from callbacks.
var loggers = []string{`"log"`, `"log/slog"`, `"expvar"`}

// checkState: the library does nothing at start and writes nothing anywhere.
func checkState(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if f.isTest() || !f.inLibrary() {
			continue
		}
		for _, spec := range f.ast.Imports {
			for _, logger := range loggers {
				if spec.Path.Value == logger {
					found = append(found, t.at(f, spec, "a library does not log: "+logger))
				}
			}
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, t.at(f, fn, "a library has no init"))
			}
		}
	}
	return found
}

// checkGoleak: each package of the root module that has tests ends them by
// looking for goroutines left behind.
func checkGoleak(t *tree) []finding {
	first := map[string]string{} // a test file of each directory
	guarded := map[string]bool{}
	for _, f := range t.files {
		if !f.isTest() || f.module != "." || f.dir == "." {
			continue
		}
		if first[f.dir] == "" {
			first[f.dir] = f.path
		}
		if strings.Contains(string(t.texts[f.path]), "goleak.VerifyTestMain(") {
			guarded[f.dir] = true
		}
	}
	var found []finding
	for dir, p := range first {
		if !guarded[dir] {
			found = append(found, finding{path: p, text: "no goleak.VerifyTestMain in this package's tests"})
		}
	}
	return found
}
