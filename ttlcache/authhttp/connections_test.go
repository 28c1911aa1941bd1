package authhttp_test

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport/transporttest"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
)

// Without a Client the lookups of one burst have the connections of the one before, where
// http.DefaultTransport keeps two.
func TestIntrospectKeepsItsConnections(t *testing.T) {
	const bursts, lookups = 5, 32
	var burst sync.WaitGroup // so that a burst's lookups are all under way at once
	srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		burst.Done()
		burst.Wait()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"active":true}`)
	}))
	ask := authhttp.Introspect(authhttp.Provider{URL: srv.URL})
	for range bursts {
		burst.Add(lookups)
		var all sync.WaitGroup
		for range lookups {
			all.Go(func() {
				_, err := ask(t.Context(), "token")
				require.NoError(t, err)
			})
		}
		all.Wait()
	}
	srv.WantConns(lookups)
}
