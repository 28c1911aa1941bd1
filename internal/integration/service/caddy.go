//go:build linux

package service

import (
	"fmt"
	"syscall"
	"testing"
)

// Caddy is a Caddy web server with one site.
type Caddy struct {
	URL string // URL is "http://127.0.0.1:" and its port.

	process *process
}

// StartCaddy starts Caddy with the given directives in its site. It ends with the test.
func StartCaddy(tb testing.TB, site string) *Caddy {
	tb.Helper()
	path := find(tb, "caddy", "caddy")
	c := &Caddy{}
	home := newPlace(tb, "caddy")
	var port int
	c.process, port = serve(tb, caddyReady, func(port int) program {
		conf := home.write(tb, "Caddyfile", caddyfile(port, site))
		args := []string{"run", "--config", conf, "--adapter", "caddyfile"}
		// Caddy keeps its state below these.
		env := []string{"HOME=" + home.dir, "XDG_DATA_HOME=" + home.dir, "XDG_CONFIG_HOME=" + home.dir}
		return program{place: home, path: path, args: args, env: env, death: syscall.SIGTERM}
	})
	stopAtEnd(tb, syscall.SIGTERM, func() *process { return c.process })
	c.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	return c
}

const caddyReady = "serving initial configuration"

func caddyfile(port int, site string) string {
	return fmt.Sprintf(`{
	admin off
	auto_https off
}
http://127.0.0.1:%d {
%s
}
`, port, site)
}
