package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkDocs: every exported name, and every exported field of an exported
// struct, has a sentence of its own that begins with its name.
func checkDocs(t *tree) []finding {
	var found []finding
	described := map[string]bool{} // directories with a package comment
	for _, f := range t.files {
		if f.isTest() || f.isMain() {
			continue
		}
		described[f.dir] = described[f.dir] || f.ast.Doc != nil
		d := docs{t: t, f: f}
		for _, decl := range f.ast.Decls {
			d.decl(decl)
		}
		found = append(found, d.found...)
	}
	for _, f := range t.files {
		if has, seen := described[f.dir]; seen && !has {
			described[f.dir] = true // once
			found = append(found, finding{path: f.path, text: "the package has no comment"})
		}
	}
	return found
}

// docs collects what the declarations of one file leave undocumented.
type docs struct {
	t     *tree
	f     *goFile
	found []finding
}

func (d *docs) decl(decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		d.fn(decl)
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				d.typ(decl, spec)
			case *ast.ValueSpec:
				d.value(decl, spec)
			}
		}
	}
}

func (d *docs) fn(fn *ast.FuncDecl) {
	name := fn.Name.Name
	if fn.Recv != nil {
		recv := receiver(fn.Recv.List[0].Type)
		if !ast.IsExported(recv) {
			return
		}
		name = recv + "." + name
	}
	if fn.Name.IsExported() {
		d.want(fn, name, []string{fn.Name.Name}, fn.Doc)
	}
}

func (d *docs) typ(decl *ast.GenDecl, spec *ast.TypeSpec) {
	if !spec.Name.IsExported() {
		return
	}
	name := spec.Name.Name
	d.want(spec, name, []string{name}, spec.Doc, own(decl))
	d.members(name, spec.Type)
}

func (d *docs) value(decl *ast.GenDecl, spec *ast.ValueSpec) {
	names := exported(spec.Names)
	if len(names) > 0 {
		d.want(spec, strings.Join(names, ", "), names, spec.Doc, spec.Comment, own(decl))
	}
}

// members wants the fields of a struct and the methods of an interface.
func (d *docs) members(owner string, typ ast.Expr) {
	var list *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return
	}
	for _, field := range list.List {
		names := exported(field.Names)
		if len(field.Names) == 0 && ast.IsExported(receiver(field.Type)) {
			names = []string{receiver(field.Type)}
		}
		if len(names) == 0 {
			continue
		}
		d.want(field, owner+"."+strings.Join(names, ", "), names, field.Doc, field.Comment)
		d.members(owner+"."+names[0], field.Type)
	}
}

// want reports a name whose first comment is missing or is no sentence about it.
func (d *docs) want(n ast.Node, shown string, names []string, comments ...*ast.CommentGroup) {
	text := ""
	for _, c := range comments {
		if text == "" {
			text = strings.TrimSpace(c.Text())
		}
	}
	if why := fault(text, names); why != "" {
		d.found = append(d.found, d.t.at(d.f, n, fmt.Sprintf("%s %s", shown, why)))
	}
}

// fault returns what is wrong with text as the documentation of names, or "".
func fault(text string, names []string) string {
	if text == "" {
		return "is not documented"
	}
	words := strings.Fields(text)
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	if !slices.Contains(names, strings.TrimRight(words[0], ",:;")) {
		return fmt.Sprintf("has a comment that begins with %q", words[0])
	}
	// The first of several paragraphs may lead up to a list.
	if !strings.Contains(text, "\n\n") && !strings.ContainsRune(".:!?)", rune(text[len(text)-1])) {
		return "has a comment that is no full sentence"
	}
	return ""
}

// own returns the comment of a declaration that declares one thing only.
func own(decl *ast.GenDecl) *ast.CommentGroup {
	if decl.Lparen == token.NoPos || len(decl.Specs) == 1 {
		return decl.Doc
	}
	return nil
}

func exported(idents []*ast.Ident) []string {
	var names []string
	for _, id := range idents {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	return names
}

// receiver returns the name of the type that an expression such as
// *pkg.Name[T] means, or "".
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	}
	return ""
}
