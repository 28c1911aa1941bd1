//go:build linux

package service

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Nginx is an nginx with one worker and one server block.
type Nginx struct {
	URL string // URL is "http://127.0.0.1:" and its port.

	tb testing.TB
	place
	process *process
}

// StartNginx starts nginx with the given directives in its server block. It ends
// with the test.
func StartNginx(tb testing.TB, server string) *Nginx {
	tb.Helper()
	path := find(tb, "nginx", "nginx")
	n := &Nginx{tb: tb, place: newPlace(tb, "nginx")}
	var port int
	n.process, port = serve(tb, nginxReady, func(port int) program {
		conf := n.write(tb, "nginx.conf", nginxConf(port, server))
		args := []string{"-p", n.dir, "-e", "stderr", "-c", conf}
		return program{place: n.place, path: path, args: args, death: syscall.SIGTERM}
	})
	stopAtEnd(tb, syscall.SIGTERM, func() *process { return n.process })
	n.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	return n
}

const nginxReady = "start worker process "

// nginxConf keeps every path inside the prefix, and logs a line a request, which
// begins with the number of its connection.
func nginxConf(port int, server string) string {
	return fmt.Sprintf(`daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
events { worker_connections 512; }
http {
	log_format connections "$connection $request_method $uri $status";
	access_log requests.log connections;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen 127.0.0.1:%d;
%s
	}
}
`, port, server)
}

// Reload makes nginx read its configuration again: a new worker takes over, and
// the old one closes its idle connections and ends. It returns when the new worker
// serves.
func (n *Nginx) Reload() {
	n.tb.Helper()
	before := n.process.log.count(nginxReady)
	if err := n.process.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		n.tb.Fatal(err)
	}
	if err := n.process.ready(nginxReady, before+1); err != nil {
		n.tb.Fatal(err)
	}
}

// Counts stops nginx, so that its log is complete, and returns how many requests
// it served and over how many connections.
func (n *Nginx) Counts() (requests, connections int) {
	n.tb.Helper()
	if err := n.process.stop(syscall.SIGTERM); err != nil {
		n.tb.Fatal(err)
	}
	log, err := os.ReadFile(n.dir + "/requests.log")
	if err != nil {
		n.tb.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(log)) {
		id, _, _ := strings.Cut(line, " ")
		seen[id] = true
		requests++
	}
	return requests, len(seen)
}
