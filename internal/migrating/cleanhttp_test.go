package migrating

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

func clientBefore() *http.Client {
	return cleanhttp.DefaultPooledClient() // idle connections to a host: GOMAXPROCS+1
}

func statusBefore(client *http.Client, url string) (int, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body) // on every path, or the connection is lost; without a limit
	return resp.StatusCode, err
}

func clientAfter() *http.Client {
	return &http.Client{Transport: &transport.Reuse{Base: transport.New(64)}} // up to 64 requests at once to a host
}

func statusAfter(client *http.Client, url string) (int, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

func oneShotBefore() *http.Client {
	return cleanhttp.DefaultClient()
}

func oneShotAfter() *http.Client {
	return &http.Client{Transport: transport.Transient()}
}

func TestCleanHTTP(t *testing.T) {
	body := strings.Repeat("x", 1<<10) // comes with the header, so that no drain is ever late
	for name, c := range map[string]struct {
		client func() *http.Client
		status func(*http.Client, string) (int, error)
		conns  int
	}{
		"pooled before":   {clientBefore, statusBefore, 1},
		"pooled after":    {clientAfter, statusAfter, 1},
		"one shot before": {oneShotBefore, statusBefore, 20},
		"one shot after":  {oneShotAfter, statusAfter, 20},
	} {
		t.Run(name, func(t *testing.T) {
			srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, body)
			}))
			client := c.client()
			defer client.CloseIdleConnections()
			for range 20 {
				status, err := c.status(client, srv.URL)
				require.NoError(t, err)
				require.Equal(t, http.StatusForbidden, status)
			}
			require.Equal(t, c.conns, srv.Conns())
		})
	}
}
