package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
)

// A real Prometheus scrapes the program's page, and its query API says what has
// happened: the numbers, the labels, and which metrics are counters.
func TestPrometheusItself(t *testing.T) {
	s := newTestService(t)
	page := httptest.NewServer(promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{}))
	defer page.Close()
	prometheus := startPrometheus(t, page.Listener.Addr().String())

	for range 3 {
		require.NoError(t, s.ask(t.Context(), "token"))
	}
	require.Eventually(t, func() bool {
		return s.pacer.Stats().Finished == 3 && s.tokens.Stats().Loading == 0
	}, 10*time.Second, time.Millisecond)
	prometheus.wait(t, `connhygiene_ttlcache_hits_total{job="example",name="tokens"}`, 2)

	want := gathered(t, s) // nothing moves any more
	require.Greater(t, len(want), 50)
	for name, value := range want {
		prometheus.wait(t, fmt.Sprintf(`sum(%s{job="example"})`, name), value)
	}
	prometheus.wait(t, `connhygiene_listener_throttle_rejected_total{name="public",reason="rate"}`, 0)
	require.Equal(t, "counter", prometheus.kind(t, "connhygiene_ttlcache_hits_total"))
	require.Equal(t, "gauge", prometheus.kind(t, "connhygiene_dbpool_connections_open"))
}

// A server is a Prometheus that runs.
type promServer struct{ url string }

func startPrometheus(t *testing.T, target string) promServer {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		require.Empty(t, os.Getenv("CONNHYGIENE_SERVICES"), "no prometheus, and services are required: run scripts/install.sh")
		t.Skip("no prometheus on this machine (Debian: apt-get install prometheus)")
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs: [{job_name: example, static_configs: [{targets: [%q]}]}]
`, target)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	address := freeAddress(t)
	cmd := exec.Command(path, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	p := promServer{url: "http://" + address}
	require.Eventually(t, func() bool {
		_, err := p.get(t, "/-/ready", nil)
		return err == nil
	}, time.Minute, 20*time.Millisecond, "prometheus is not ready")
	return p
}

// freeAddress returns an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// wait waits until the query has one result, and that this value.
func (p promServer) wait(t *testing.T, query string, want float64) {
	t.Helper()
	var last string
	require.Eventually(t, func() bool {
		body, err := p.get(t, "/api/v1/query", url.Values{"query": {query}})
		if err != nil {
			last = err.Error()
			return false
		}
		last = string(body)
		var answer struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		require.NoError(t, json.Unmarshal(body, &answer))
		if len(answer.Data.Result) != 1 {
			return false
		}
		got, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
		require.NoError(t, err)
		return got == want
	}, time.Minute, 20*time.Millisecond, "%s: want %v", query, want)
	if t.Failed() {
		t.Log(last)
	}
}

// kind returns what Prometheus takes the metric for.
func (p promServer) kind(t *testing.T, metric string) string {
	t.Helper()
	body, err := p.get(t, "/api/v1/metadata", url.Values{"metric": {metric}})
	require.NoError(t, err)
	var answer struct {
		Data map[string][]struct{ Type string }
	}
	require.NoError(t, json.Unmarshal(body, &answer))
	require.Len(t, answer.Data[metric], 1, string(body))
	return answer.Data[metric][0].Type
}

func (p promServer) get(t *testing.T, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}
