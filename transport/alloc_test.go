package transport_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// allocs counts those of a request whose body is read to its end.
func allocs(t testing.TB, rt http.RoundTripper, req *http.Request, runs int) float64 {
	t.Helper()
	buf := make([]byte, 512)
	return testing.AllocsPerRun(runs, func() {
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		if err != io.EOF {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	})
}

func TestOneAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	fake := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ProtoMajor: 1, ContentLength: 3, Body: io.NopCloser(strings.NewReader("abc"))}, nil
	})
	srv := transporttest.NewServer(t, payload)
	for name, base := range map[string]http.RoundTripper{"fake": fake, "loopback": base(t, srv, 1)} {
		for _, cold := range []bool{false, true} {
			req := newRequest(t, srv.URL+"/?n=300")
			bare := allocs(t, base, req, 2000)
			with := allocs(t, &transport.Reuse{Base: base, ColdStart: cold}, req, 2000)
			t.Logf("%s: %v, with Reuse %v", name, bare, with)
			require.LessOrEqual(t, with, bare+1, name)
		}
	}
	req := newRequest(t, srv.URL).WithContext(t.Context())
	require.LessOrEqual(t, allocs(t, &transport.Reuse{Base: fake}, req, 2000), allocs(t, fake, req, 2000)+1)
}
