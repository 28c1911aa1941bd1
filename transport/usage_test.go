package transport_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// What the package comment shows.

func pooled() *http.Client {
	client := &http.Client{Transport: transport.New(64), Timeout: 30 * time.Second}
	return client
}

func reusing() *http.Client {
	client := &http.Client{Transport: &transport.Reuse{
		Base:       transport.New(64), // requests in flight to one host
		MaxConnAge: 10 * time.Minute,  // follow DNS and load balancers
		ColdStart:  true,              // 64 first requests over HTTP/2: one connection
		Silence:    5 * time.Second,   // without a byte of the answer
		Timeout:    30 * time.Second,  // of each exchange, with its body
	}}
	return client
}

func TestUsage(t *testing.T) {
	for _, client := range []*http.Client{pooled(), reusing()} {
		srv := transporttest.NewServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for range 3 {
			resp, err := client.Get(srv.URL)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		srv.WantConns(1)
		client.CloseIdleConnections()
	}
}
