package main

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
)

const (
	testify = "github.com/stretchr/testify"
	goleak  = "go.uber.org/goleak"
)

// allowed are the direct requirements of the root module, all of them and no
// others: whoever imports one package inherits the list.
var allowed = []string{testify, goleak, "golang.org/x/sync", "golang.org/x/time"}

// checkRequirements holds the root to its requirements and the nested modules
// to the code beside them.
func checkRequirements(t *tree) []finding {
	var found []finding
	for _, p := range t.works {
		found = append(found, finding{path: p, text: "a workspace hides what the nested modules require: do not commit it"})
	}
	for _, dir := range slices.Sorted(maps.Keys(t.mods)) {
		if dir == "." {
			found = append(found, checkRoot(t.mods[dir])...)
		} else {
			found = append(found, checkNested(dir, t.mods[dir])...)
		}
	}
	return found
}

func checkRoot(mod *modfile.File) []finding {
	var found []finding
	missing := slices.Clone(allowed)
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		if i := slices.Index(missing, r.Mod.Path); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			continue
		}
		found = append(found, finding{"go.mod", r.Syntax.Start.Line, "stray direct requirement " + r.Mod.Path})
	}
	for _, m := range missing {
		found = append(found, finding{path: "go.mod", text: "requirement is gone: " + m})
	}
	for _, r := range mod.Replace {
		found = append(found, finding{"go.mod", r.Syntax.Start.Line, "a replacement has no effect for users: " + r.Old.Path})
	}
	return found
}

// checkNested: a nested module that uses the root's packages uses those of the
// same checkout.
func checkNested(dir string, mod *modfile.File) []finding {
	uses := slices.ContainsFunc(mod.Require, func(r *modfile.Require) bool { return r.Mod.Path == modulePath })
	here := slices.ContainsFunc(mod.Replace, func(r *modfile.Replace) bool {
		return r.Old.Path == modulePath && r.New.Version == "" && path.Join(dir, r.New.Path) == "."
	})
	if uses && !here {
		return []finding{{path: path.Join(dir, "go.mod"), text: "the root module is not replaced by the one in this checkout"}}
	}
	return nil
}

// arrows are the imports allowed between the packages of the library.
var arrows = map[string][]string{"dbpool": {"backoff"}, "ttlcache/authhttp": {"ttlcache"}}

// checkArrows keeps the packages apart, and the test libraries out of them.
func checkArrows(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if f.isTest() || f.module != "." {
			continue
		}
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the compiler says so
			}
			if why := forbidden(f, imported); why != "" {
				found = append(found, t.at(f, spec, fmt.Sprintf("imports %s: %s", imported, why)))
			}
		}
	}
	return found
}

// forbidden returns why f may not import the package, or "".
func forbidden(f *goFile, imported string) string {
	if within(imported, testify) || within(imported, goleak) {
		return "for tests only"
	}
	dir, ours := strings.CutPrefix(imported, modulePath+"/")
	fixture := strings.HasSuffix(path.Base(f.dir), "test") && f.dir != path.Base(f.dir)
	switch {
	case !f.inLibrary():
		return ""
	case fixture && (within(imported, "golang.org/x/time") || within(imported, "golang.org/x/sync")):
		return "a fixture needs nothing but its parent"
	case !ours:
		return ""
	case fixture && dir == path.Dir(f.dir), slices.Contains(arrows[f.dir], dir):
		return ""
	}
	return "the packages stand alone"
}
