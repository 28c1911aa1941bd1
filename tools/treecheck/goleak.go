package main

import "strings"

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
