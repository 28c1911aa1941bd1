package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
)

// packages adds to texts the documentation comments of each package that users import,
// by the name of its directory.
func packages(root string, texts map[string]string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		switch {
		case d.IsDir() && skipped(filepath.ToSlash(name)):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		if file.Name.Name == "main" {
			return nil
		}
		texts[filepath.ToSlash(filepath.Dir(name))] += documented(file)
		return nil
	})
}

// skipped reports whether a directory has nothing that users import.
func skipped(dir string) bool {
	switch dir {
	case "internal", "tools", "examples", "docs", "scripts":
		return true
	}
	return dir != "." && strings.HasPrefix(filepath.Base(dir), ".")
}

// documented is the prose of what godoc shows.
func documented(file *ast.File) string {
	var b strings.Builder
	add := func(groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if g != nil {
				b.WriteString(prose(g.Text()))
			}
		}
	}
	add(file.Doc)
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() {
				add(d.Doc)
			}
		case *ast.GenDecl:
			if exported(d) {
				add(d.Doc)
				ast.Inspect(d, func(n ast.Node) bool {
					switch n := n.(type) {
					case *ast.Field:
						if len(n.Names) > 0 && n.Names[0].IsExported() {
							add(n.Doc, n.Comment)
						}
					case *ast.ValueSpec:
						add(n.Doc, n.Comment)
					case *ast.TypeSpec:
						add(n.Doc, n.Comment)
					}
					return true
				})
			}
		}
	}
	return b.String()
}

func exported(d *ast.GenDecl) bool {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				return true
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if name.IsExported() {
					return true
				}
			}
		}
	}
	return false
}

// prose drops the indented lines of a comment, which are code.
func prose(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "    ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
