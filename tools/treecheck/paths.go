package main

import (
	"bytes"
	"fmt"
	"regexp"
)

// machinePath matches a folder that exists on its author's machine only. What
// stands before it must not be part of a longer path or of a web address.
var machinePath = regexp.MustCompile(`(?:^|[\s"'(=:` + "`" + `])((?:/root|/work|/home/\w+|/Users/\w+|[A-Z]:\\Users\\\w+)[/\\][\w.])`)

func checkPaths(t *tree) []finding {
	var found []finding
	for p, data := range t.texts {
		for i, line := range bytes.Split(data, []byte("\n")) {
			if m := machinePath.FindSubmatch(line); m != nil {
				found = append(found, finding{p, i + 1, fmt.Sprintf("path of somebody's machine: %s...", m[1])})
			}
		}
	}
	return found
}
