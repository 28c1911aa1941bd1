package main

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/mod/modfile"
)

// modulePath is the root module's.
const modulePath = "github.com/connhygiene/connhygiene"

// maxText is the size from which a file is data, which nobody reads.
const maxText = 1 << 20

// A tree is what the rules look at: the files of the repository, by their
// slash-separated paths below its root.
type tree struct {
	fset  *token.FileSet
	texts map[string][]byte        // every text file
	mods  map[string]*modfile.File // by directory; the root's is "."
	works []string                 // go.work files, which must not be there
	files []*goFile
}

// A goFile is one parsed Go file.
type goFile struct {
	path   string
	dir    string
	module string // directory of the module it belongs to
	ast    *ast.File
}

func (f *goFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }
func (f *goFile) isMain() bool { return f.ast.Name.Name == "main" }

// inLibrary reports whether users of the root module can import f.
func (f *goFile) inLibrary() bool {
	return f.module == "." && !f.isMain() && !within(f.dir, "internal") && !within(f.dir, "examples")
}

func within(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

// load reads and parses everything under fsys but what git and builds put there.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), texts: map[string][]byte{}, mods: map[string]*modfile.File{}}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p == ".git" || p == "bin" || p == "dist":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // .git is a file in a worktree
		case !d.Type().IsRegular():
			return nil
		}
		return t.add(fsys, p)
	})
	if err != nil {
		return nil, err
	}
	if t.mods["."] == nil {
		return nil, errors.New("no go.mod here: not the root of the repository")
	}
	for _, f := range t.files {
		f.module = t.moduleOf(f.dir)
	}
	return t, nil
}

// add reads the file at p and keeps it, if it is one that a rule looks at.
func (t *tree) add(fsys fs.FS, p string) error {
	data, err := fs.ReadFile(fsys, p)
	if err != nil {
		return err
	}
	if len(data) > maxText || !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return nil
	}
	t.texts[p] = data
	name := path.Base(p)
	switch {
	case strings.HasPrefix(name, "go.work"):
		t.works = append(t.works, p)
	case name == "go.mod":
		mod, err := modfile.Parse(p, data, nil)
		if err != nil {
			return err
		}
		t.mods[path.Dir(p)] = mod
	case strings.HasSuffix(name, ".go") && !strings.Contains("/"+p, "/testdata/"):
		file, err := parser.ParseFile(t.fset, p, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.files = append(t.files, &goFile{path: p, dir: path.Dir(p), ast: file})
	}
	return nil
}

// moduleOf returns the directory of the module that dir belongs to.
func (t *tree) moduleOf(dir string) string {
	for dir != "." && t.mods[dir] == nil {
		dir = path.Dir(dir)
	}
	return dir
}

// at returns a finding at the place of n in f.
func (t *tree) at(f *goFile, n ast.Node, text string) finding {
	return finding{path: f.path, line: t.fset.Position(n.Pos()).Line, text: text}
}
