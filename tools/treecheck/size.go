package main

import (
	"bytes"
	"fmt"
	"go/ast"
)

// What fits in the eye: longer files hold two ideas, longer functions do two things.
const (
	maxFileLines = 400
	maxFuncLines = 60
)

func checkSize(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		if lines := bytes.Count(t.texts[f.path], []byte("\n")); lines > maxFileLines {
			found = append(found, finding{path: f.path, text: fmt.Sprintf("%d lines, at most %d", lines, maxFileLines)})
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
			if lines > maxFuncLines {
				found = append(found, t.at(f, fn, fmt.Sprintf("%s has %d lines, at most %d", fn.Name.Name, lines, maxFuncLines)))
			}
		}
	}
	return found
}
