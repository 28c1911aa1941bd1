package connhygiene_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// The README's test of a client's connections, with the least client that it fits.
func TestPollKeepsItsConnection(t *testing.T) {
	srv := transporttest.NewServer(t, status)
	client := pollClient{url: srv.URL, http: srv.Client()}
	transporttest.Check(t, client.http) // names bodies that are never closed
	for range 10 {
		_ = client.poll(t.Context())
	}
	srv.WantConns(1)
}

var status = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ready") })

type pollClient struct {
	url  string
	http *http.Client
}

func (c pollClient) poll(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
