package transporttest

import (
	"fmt"
	"net/http"
	"strings"
)

// A request is one that a handler was called for.
type request struct {
	what string // such as "GET /"
	call
}

func (r request) String() string {
	if r.from == "" {
		return r.what
	}
	return r.what + " (" + r.from + ")"
}

// listed groups of connections are named in a report.
const listed = 10

// report says why there are more connections than most, and nothing if there
// are not. Connections with the same story are one line.
func (s *conns) report(most int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) <= most {
		return ""
	}
	groups := make(map[string][]*conn)
	var stories []string
	for _, c := range s.all {
		story := s.storyLocked(c)
		if groups[story] == nil {
			stories = append(stories, story)
		}
		groups[story] = append(groups[story], c)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "transporttest: %d connections for %d requests, want at most %d", len(s.all), s.requests, most)
	left := len(s.all)
	for i, story := range stories {
		if i == listed {
			fmt.Fprintf(&text, "\n\tand %d more", left)
			break
		}
		left -= len(groups[story])
		text.WriteString("\n\t" + heading(groups[story]) + ": " + story)
	}
	return text.String()
}

// heading names the connections of one story.
func heading(group []*conn) string {
	first, last := group[0], group[len(group)-1]
	switch len(group) {
	case 1:
		return fmt.Sprintf("connection %d", first.number)
	case 2:
		return fmt.Sprintf("connections %d and %d, each", first.number, last.number)
	}
	return fmt.Sprintf("%d connections, %d to %d, each", len(group), first.number, last.number)
}

func (s *conns) storyLocked(c *conn) string {
	switch c.requests {
	case 0:
		return "no request, which had found another connection before this one was ready"
	case 1:
		return fmt.Sprintf("one request, %v; %s", c.first, s.endLocked(c))
	}
	return fmt.Sprintf("%d requests, the first %v, the last %v; %s", c.requests, c.first, c.last, s.endLocked(c))
}

func (s *conns) endLocked(c *conn) string {
	switch {
	case c.state == http.StateHijacked:
		return "then taken over by its handler"
	case c.state != http.StateClosed && c.inFlight > 0:
		return "still busy"
	case c.state != http.StateClosed && c.last.fate.is(unfinished):
		return "open: the body of its last answer was not closed"
	case c.state != http.StateClosed:
		return "open and idle"
	case c.asked != "":
		return "then closed: " + c.asked
	}
	return "then closed by the client: " + s.causeLocked(c)
}

// causeLocked says why a client closed a connection. Check knows the end of the
// answer. Without it, a client that keeps far fewer connections than it had requests
// in flight had too many, and one that keeps none keeps none like this.
func (s *conns) causeLocked(c *conn) string {
	const unread = "the body of its last answer was not read to EOF before Close, or its context ended"
	kept := 0
	for _, other := range s.open {
		if other.requests > 0 && other.inFlight == 0 && !other.last.fate.is(unfinished) {
			kept++
		}
	}
	many := fmt.Sprintf("more were idle than it keeps (MaxIdleConnsPerHost): %d requests were in flight at once, %d connections are kept", s.peak, kept)
	switch {
	case c.last.fate.is(closedUnread):
		return "the body of its last answer was closed before EOF"
	case c.last.fate.is(brokeOff):
		return "its last answer broke off, or the context of the request ended"
	case c.last.fate.is(readToEnd) && s.peak > 1:
		return many
	case s.peak == 1 || kept == 0:
		return unread
	case s.peak > kept+1: // one may be a request that was given up, whose handler has not noticed
		return many
	}
	return unread + ", or " + many + "; Check tells"
}
