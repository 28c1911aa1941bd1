package transport_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

func TestReuseRatio(t *testing.T) {
	require.Zero(t, transport.Stats{}.ReuseRatio())
	require.Zero(t, transport.Stats{Dialed: 3}.ReuseRatio())
	require.InDelta(t, 0.75, transport.Stats{Reused: 3, Dialed: 1}.ReuseRatio(), 1e-12)
	const most = 1<<64 - 1
	require.InDelta(t, 0.5, transport.Stats{Reused: most, Dialed: most}.ReuseRatio(), 1e-12)
}

func TestHostsAreBounded(t *testing.T) {
	r := &transport.Reuse{ColdStart: true, Base: roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("nobody there")
	})}
	for i := range 1000 {
		for _, scheme := range []string{"http", "https"} {
			_, err := r.RoundTrip(newRequest(t, fmt.Sprintf("%s://host%d.test:80", scheme, i))) //nolint:bodyclose // there is none
			require.Error(t, err)
		}
	}
	hosts := maps.Collect(r.Hosts())
	require.Len(t, hosts, 128+1) // two schemes each
	require.Equal(t, transport.Stats{Requests: 2, Failed: 2}, hosts["host0.test:80"])
	require.Equal(t, transport.Stats{Requests: 2000 - 256, Failed: 2000 - 256}, hosts["other"])
	require.Equal(t, transport.Stats{Requests: 2000, Failed: 2000}, r.Stats())
	for range r.Hosts() {
		break // early
	}
}

// Counts are read while requests are made.
// A host may be named other.
func TestHostNamedOther(t *testing.T) {
	r := &transport.Reuse{Base: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") })}
	send := func(host string) {
		_, err := r.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http", Host: host}})
		require.Error(t, err)
	}
	send("other")
	for i := range 300 {
		send(strconv.Itoa(i))
	}
	require.EqualValues(t, 301, r.Stats().Requests)
}

func TestStatsBesideRequests(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	r := &transport.Reuse{Base: base(t, srv, 8)}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				closeUnread(t, r, srv.URL+"/?n=10")
			}
		})
	}
	for range 50 {
		_ = r.Stats()
	}
	wg.Wait()
	s := r.Stats()
	require.EqualValues(t, 200, s.Requests)
	require.EqualValues(t, 200, s.Reused+s.Dialed)
	require.EqualValues(t, 200, s.Drained)
	host := strings.TrimPrefix(srv.URL, "http://")
	require.Equal(t, map[string]transport.Stats{host: s}, maps.Collect(r.Hosts()))
}
