//go:build linux

package service

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// HAProxy is an HAProxy with one frontend.
type HAProxy struct {
	URL string // URL is "http://127.0.0.1:" and its port.

	tb      testing.TB
	process *process
}

// StartHAProxy starts HAProxy in front of a server at addr, host:port. Lines are
// added to its frontend. It ends with the test.
func StartHAProxy(tb testing.TB, addr, lines string) *HAProxy {
	tb.Helper()
	path := find(tb, "haproxy", "haproxy")
	h := &HAProxy{tb: tb}
	home := newPlace(tb, "haproxy")
	var port int
	h.process, port = serve(tb, haproxyReady, func(port int) program {
		conf := home.write(tb, "haproxy.cfg", haproxyConf(port, addr, lines))
		// A master and a worker, in the foreground: the master tells when the worker
		// serves, and the worker ends with the master.
		return program{place: home, path: path, args: []string{"-W", "-db", "-f", conf}, death: syscall.SIGTERM}
	})
	stopAtEnd(tb, syscall.SIGTERM, func() *process { return h.process })
	h.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	return h
}

const (
	haproxyReady = "Loading success."
	haproxyLog   = "served on " // begins the line of a request
)

// haproxyConf logs a line a request to standard error, with a name of its connection:
// the kernel may give a client's port to another soon.
func haproxyConf(port int, addr, lines string) string {
	return fmt.Sprintf(`global
	log stderr format raw local0
	maxconn 1000
defaults
	mode http
	log global
	option dontlognull
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend front
	bind 127.0.0.1:%d
	tcp-request connection set-var(sess.connection) uuid()
	log-format "%s%%[var(sess.connection)]"
	default_backend back
%s
backend back
	server one %s
`, port, haproxyLog, lines, addr)
}

// Counts stops HAProxy, so that its log is complete, and returns how many requests
// it served and over how many connections.
func (h *HAProxy) Counts() (requests, connections int) {
	h.tb.Helper()
	if err := h.process.stop(syscall.SIGTERM); err != nil {
		h.tb.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(h.process.log.String()) {
		if connection, ok := strings.CutPrefix(line, haproxyLog); ok {
			seen[connection] = true
			requests++
		}
	}
	return requests, len(seen)
}
