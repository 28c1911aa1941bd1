package transporttest

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// calls remembers who sent which request, until the handler sees it. Equal
// requests in flight at once may be taken for each other: they mostly come from
// the same line.
type calls map[string][]string

// maxCalls bounds what is remembered of requests that never arrive.
const maxCalls = 1000

func (c *calls) add(what, caller string) {
	if *c == nil {
		*c = make(calls)
	}
	if at := (*c)[what]; len(at) < maxCalls && (len(at) > 0 || len(*c) < maxCalls) {
		(*c)[what] = append(at, caller)
	}
}

// take returns the caller of the oldest such request, or "".
func (c *calls) take(what string) string {
	at := (*c)[what]
	switch len(at) {
	case 0:
		return ""
	case 1:
		delete(*c, what)
	default:
		(*c)[what] = at[1:]
	}
	return at[0]
}

// caller returns the file and line that called into net/http.
func caller() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !plumbing(frame.Function) {
			return fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return ""
		}
	}
}

// plumbing reports whether a function only passes requests on.
func plumbing(function string) bool {
	const ours = "github.com/connhygiene/connhygiene/transport"
	for _, prefix := range []string{"net/http.", "net/http/", ours + ".", ours + "/transporttest.", "runtime."} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return function == ""
}
