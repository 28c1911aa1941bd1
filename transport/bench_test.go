package transport_test

import (
	"net/http"
	"testing"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// What Reuse adds to a request over the loopback interface whose answer has 4 KiB.
// Read bodies are the bare transport's as well; the unread ones cost it connections.
func BenchmarkReuse(b *testing.B) {
	srv := transporttest.NewServer(b, payload)
	for _, c := range []struct {
		name string
		rt   http.RoundTripper
		get  getter
	}{
		{"body=read/with=nothing", base(b, srv, 1), read},
		{"body=read/with=Reuse", &transport.Reuse{Base: base(b, srv, 1)}, read},
		{"body=unread/with=Reuse", &transport.Reuse{Base: base(b, srv, 1)}, unread},
	} {
		b.Run(c.name, func(b *testing.B) {
			req := newRequest(b, srv.URL+"/?n=4096")
			buf := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				c.get(b, c.rt, req, buf)
			}
		})
	}
}
