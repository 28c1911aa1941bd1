package main

import (
	"go/ast"
	"go/doc"
	"strings"
)

// checkExamples: every function and type that a user can call has an Example
// that runs, which is one with an Output comment.
//
// Fixtures are left out: what takes a testing.TB cannot stand in an Example.
func checkExamples(t *tree) []finding {
	tests := map[string][]*ast.File{} // by directory
	for _, f := range t.files {
		if f.isTest() && f.inLibrary() {
			tests[f.dir] = append(tests[f.dir], f.ast)
		}
	}
	ran := map[string]map[string]bool{} // directory, name
	for dir, files := range tests {
		ran[dir] = runnable(files)
	}
	var found []finding
	for _, f := range t.files {
		if f.isTest() || !f.inLibrary() || strings.HasSuffix(f.dir, "test") {
			continue
		}
		for _, id := range entryPoints(f.ast) {
			if !ran[f.dir][id.Name] {
				found = append(found, t.at(f, id, id.Name+" has no Example with Output"))
			}
		}
	}
	return found
}

// runnable returns the names that have an Example which runs. One of a method
// counts for its type.
func runnable(files []*ast.File) map[string]bool {
	names := map[string]bool{}
	for _, ex := range doc.Examples(files...) {
		if ex.Output == "" && !ex.EmptyOutput {
			continue
		}
		name, _, _ := strings.Cut(ex.Name, "_")
		names[name] = true
	}
	return names
}

// entryPoints returns the exported functions and types of a file.
func entryPoints(file *ast.File) []*ast.Ident {
	var ids []*ast.Ident
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil && decl.Name.IsExported() {
				ids = append(ids, decl.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok && spec.Name.IsExported() {
					ids = append(ids, spec.Name)
				}
			}
		}
	}
	return ids
}
