package listenertest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// What the package comment shows.
func TestUsage(t *testing.T) {
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	l := listenertest.New()
	go srv.Serve(l)
	client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
	resp, err := client.Get("http://server/")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	client.CloseIdleConnections()
	require.NoError(t, srv.Close())
}
