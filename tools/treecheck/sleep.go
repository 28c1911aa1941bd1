package main

import (
	"go/ast"
	"path"
	"strconv"
	"strings"
)

const synctestPath = "testing/synctest"

// checkSleep: a test that sleeps is slow on a fast machine and wrong on a slow
// one. Inside a synctest bubble a sleep takes no time and is exact.
//
// A sleep counts as inside if a function literal handed to synctest.Test
// encloses it. A function that tests call cannot be followed; it may sleep in a
// package whose tests use synctest.
func checkSleep(t *tree) []finding {
	bubbles := map[string]bool{} // directories whose tests use synctest
	for _, f := range t.files {
		if f.isTest() && importName(f.ast, synctestPath) != "" {
			bubbles[f.dir] = true
		}
	}
	var found []finding
	for _, f := range t.files {
		sleeper := importName(f.ast, "time")
		if !f.isTest() || sleeper == "" {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && bubbles[f.dir] && !isEntry(fn) {
				continue
			}
			for _, call := range sleepsOutside(decl, sleeper, importName(f.ast, synctestPath)) {
				found = append(found, t.at(f, call, "time.Sleep outside a synctest bubble"))
			}
		}
	}
	return found
}

// sleepsOutside returns the calls of time.Sleep in n that no bubble encloses.
func sleepsOutside(n ast.Node, timeName, synctestName string) []ast.Node {
	var calls []ast.Node
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		switch {
		case !ok:
			return true
		case isCall(call, synctestName, "Test"):
			return false
		case isCall(call, timeName, "Sleep"):
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

func isCall(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// isEntry reports whether the testing package calls fn itself.
func isEntry(fn *ast.FuncDecl) bool {
	for _, prefix := range []string{"Test", "Fuzz", "Benchmark", "Example"} {
		if fn.Recv == nil && strings.HasPrefix(fn.Name.Name, prefix) {
			return true
		}
	}
	return false
}

// importName returns the name under which file uses the package, or "".
func importName(file *ast.File, pkg string) string {
	for _, spec := range file.Imports {
		if spec.Path.Value != strconv.Quote(pkg) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}
