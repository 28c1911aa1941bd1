package transporttest

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// A call is the origin of a request, and the fate of its answer, if Check knows.
type call struct {
	from string // up to three frames, "" if unknown
	fate *fate
}

// calls remembers the origin of each request until the handler sees it. Equal
// requests in flight at once may be taken for each other: they mostly come from
// the same line.
type calls map[string][]call

// maxCalls bounds the memory of requests that never arrive.
const maxCalls = 1000

func (c *calls) add(what string, from call) {
	if *c == nil {
		*c = make(calls)
	}
	if at := (*c)[what]; len(at) < maxCalls && (len(at) > 0 || len(*c) < maxCalls) {
		(*c)[what] = append(at, from)
	}
}

// take returns the oldest such call, or an empty one.
func (c *calls) take(what string) call {
	at := (*c)[what]
	switch len(at) {
	case 0:
		return call{}
	case 1:
		delete(*c, what)
	default:
		(*c)[what] = at[1:]
	}
	return at[0]
}

// maxFrames is how many callers are named: the first is often a helper with many
// callers.
const maxFrames = 3

// callers returns the lines that led into net/http, each called by the next:
// "client/send.go:12 < client/poll.go:34".
func callers() string {
	var pcs [64]uintptr
	var lines []string
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for more := true; more && len(lines) < maxFrames; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if !plumbing(frame.Function) {
			dir, file := filepath.Split(frame.File)
			lines = append(lines, fmt.Sprintf("%s/%s:%d", filepath.Base(dir), file, frame.Line))
		}
	}
	return strings.Join(lines, " < ")
}

// plumbing reports whether a function only passes requests on, or runs tests.
func plumbing(function string) bool {
	const ours = "github.com/connhygiene/connhygiene/transport"
	for _, prefix := range []string{
		"net/http.", "net/http/", ours + ".", ours + "/transporttest.",
		"runtime.", "testing.", "testing/", "internal/synctest.", "main.main", "sync.",
	} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return function == ""
}
