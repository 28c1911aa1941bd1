package main

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

const synctestPath = "testing/synctest"

// checkSleep: a test that sleeps is slow on a fast machine and wrong on a slow
// one. Inside a synctest bubble a sleep takes no time and is exact.
//
// A sleep counts as inside if a function literal encloses it that is handed to
// synctest.Test, or to a function of the same tests that calls synctest.Test. A
// function that tests call cannot be followed; it may sleep in a package whose
// tests use synctest.
func checkSleep(t *tree) []finding {
	bubbles := map[string]bubble{} // by directory
	for _, f := range t.files {
		if f.isTest() {
			bubbles[f.dir] = append(bubbles[f.dir], bubblesOf(f.ast)...)
		}
	}
	var found []finding
	for _, f := range t.files {
		sleeper := importName(f.ast, "time")
		if !f.isTest() || sleeper == "" {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && len(bubbles[f.dir]) > 0 && !isEntry(fn) {
				continue
			}
			for _, call := range bubbles[f.dir].sleepsOutside(decl, sleeper) {
				found = append(found, t.at(f, call, "time.Sleep outside a synctest bubble"))
			}
		}
	}
	return found
}

// A bubble holds the functions whose function literals run inside one:
// synctest.Test, under the name it has in each file, and what calls it.
type bubble []string

func bubblesOf(file *ast.File) bubble {
	name := importName(file, synctestPath)
	if name == "" {
		return nil
	}
	names := bubble{name + ".Test"}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || isEntry(fn) {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && callee(call) == names[0] {
				names = append(names, fn.Name.Name)
			}
			return true
		})
	}
	return names
}

// sleepsOutside returns the calls of time.Sleep in n that no bubble encloses.
func (b bubble) sleepsOutside(n ast.Node, timeName string) []ast.Node {
	var calls []ast.Node
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		switch {
		case !ok:
			return true
		case slices.Contains(b, callee(call)):
			return false
		case callee(call) == timeName+".Sleep":
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

// callee returns what is called, as name or package.name, or "".
func callee(call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			return x.Name + "." + fun.Sel.Name
		}
	}
	return ""
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
