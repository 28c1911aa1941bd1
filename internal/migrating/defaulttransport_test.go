package migrating

import (
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

func internalBefore() *http.Client {
	t := http.DefaultTransport.(*http.Transport) // shared by the whole process: every client gets the setting
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13}
	return &http.Client{Transport: t}
}

func internalAfter() *http.Client {
	t := transport.New(32) // for up to 32 requests in flight to one host
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13}
	return &http.Client{Transport: t}
}

// Rounds of 32 requests at once: the default keeps two idle connections to a host.
func TestDefaultTransport(t *testing.T) {
	defer func(c *tls.Config) { http.DefaultTransport.(*http.Transport).TLSClientConfig = c }(nil)
	for name, c := range map[string]struct {
		client      func() *http.Client
		least, most int
	}{"before": {internalBefore, 60, 640}, "after": {internalAfter, 32, 32}} {
		t.Run(name, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				arrived <- struct{}{}
				<-release // once all 32 are in flight
				_, _ = io.WriteString(w, "ready")
			}))
			client := c.client()
			defer client.CloseIdleConnections()
			for range 20 {
				round(t, client, srv.URL, arrived, release)
			}
			require.GreaterOrEqual(t, srv.Conns(), c.least)
			require.LessOrEqual(t, srv.Conns(), c.most)
		})
	}
}

// round sends 32 requests that are in flight at the same time.
func round(t *testing.T, client *http.Client, url string, arrived <-chan struct{}, release chan<- struct{}) {
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			resp, err := client.Get(url)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
	}
	for range 32 {
		<-arrived
	}
	for range 32 {
		release <- struct{}{}
	}
	all.Wait()
}
