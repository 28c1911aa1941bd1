package main

import (
	"go/ast"
	"strings"
)

// checkState: the library does nothing at start and writes nothing anywhere;
// users log from callbacks.
func checkState(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if f.isTest() || !f.inLibrary() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if why := chatty(n); why != "" {
				found = append(found, t.at(f, n, why))
			}
			return true
		})
	}
	return found
}

// chatty returns how n logs or keeps state, or "". Package log may be imported:
// an http.Server takes a *log.Logger to be silenced with.
func chatty(n ast.Node) string {
	switch n := n.(type) {
	case *ast.ImportSpec:
		if n.Path.Value == `"log/slog"` || n.Path.Value == `"expvar"` {
			return "a library does not log: " + n.Path.Value
		}
	case *ast.CallExpr:
		for _, prefix := range []string{"log.Print", "log.Fatal", "log.Panic", "log.Output"} {
			if strings.HasPrefix(callee(n), prefix) {
				return "a library does not log: " + callee(n)
			}
		}
	case *ast.FuncDecl:
		if n.Recv == nil && n.Name.Name == "init" {
			return "a library has no init"
		}
	}
	return ""
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
