package main

import (
	"bufio"
	"context"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The program serves what its agents have caused, prints the same for OpenTelemetry,
// and ends when it is told to.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, written := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, options{listen: "127.0.0.1:0", agents: 2, otel: 50 * time.Millisecond}, written)
		_ = written.Close()
	}()
	lines := bufio.NewReader(read)
	url, err := lines.ReadString('\n')
	require.NoError(t, err)
	printed, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, printed, `"connhygiene.ttlcache.hits"`)
	go func() { _, _ = io.Copy(io.Discard, lines) }()

	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get(strings.TrimSpace(url))
	require.NoError(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(page), "\n"+`connhygiene_dbpool_connections_limit{name="auth"} 10`+"\n")
	cancel()
	require.NoError(t, <-ended)
}

func TestRunFails(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), options{listen: "127.0.0.1:99999"}, io.Discard), "99999")
}

func TestParse(t *testing.T) {
	for want, args := range map[string][]string{
		"-agents is -1":         {"-agents", "-1"},
		"-otel is -1s":          {"-otel", "-1s"},
		`argument "please"`:     {"please"},
		"flag provided but not": {"-nonsense"},
	} {
		_, err := parse(args, io.Discard)
		require.ErrorContains(t, err, want)
	}
	var help strings.Builder
	_, err := parse([]string{"-h"}, &help)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, help.String(), "-listen")
}

// Prometheus and OpenTelemetry get the same names and the same numbers, and these are
// what has happened.
func TestBothExportTheSame(t *testing.T) {
	s := newTestService(t)
	for range 3 {
		require.NoError(t, s.ask(t.Context(), "token"))
	}
	require.NoError(t, s.ask(t.Context(), "another"))
	// The answer is there before the handler and the load have returned.
	require.Eventually(t, func() bool {
		return s.pacer.Stats().Finished == 4 && s.tokens.Stats().Loading == 0
	}, 10*time.Second, time.Millisecond)

	prom := gathered(t, s)
	require.Equal(t, prom, observed(t, s))
	for name, want := range map[string]float64{
		"connhygiene_transport_requests_total":         4,
		"connhygiene_transport_dialed_total":           1,
		"connhygiene_transport_reused_total":           3,
		"connhygiene_ttlcache_hits_total":              2,
		"connhygiene_ttlcache_loads_total":             2,
		"connhygiene_backoff_pacer_finished_total":     4,
		"connhygiene_listener_gate_openings_total":     1,
		"connhygiene_listener_throttle_accepted_total": 1,
		"connhygiene_listener_throttle_pending":        0,
		"connhygiene_dbpool_dial_opened_total":         1,
		"connhygiene_dbpool_connections_limit":         10,
	} {
		require.Contains(t, prom, name)
		require.Equal(t, want, prom[name], name)
	}
}

func newTestService(t *testing.T) *service {
	t.Helper()
	s, err := newService(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// gathered returns what Prometheus gets, the series of a name added up.
func gathered(t *testing.T, s *service) map[string]float64 {
	t.Helper()
	families, err := s.registry().Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			values[family.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

// observed returns what OpenTelemetry gets, under the names that Prometheus has.
func observed(t *testing.T, s *service) map[string]float64 {
	t.Helper()
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer func() { require.NoError(t, provider.Shutdown(context.Background())) }()
	require.NoError(t, s.observe(provider.Meter("test")))
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	values := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			name, points := pointsOf(t, m)
			for _, point := range points {
				values[name] += point.Value
			}
		}
	}
	return values
}

func pointsOf(t *testing.T, m metricdata.Metrics) (string, []metricdata.DataPoint[float64]) {
	t.Helper()
	name := strings.ReplaceAll(m.Name, ".", "_") + map[string]string{"s": "_seconds", "By": "_bytes"}[m.Unit]
	switch data := m.Data.(type) {
	case metricdata.Sum[float64]:
		require.True(t, data.IsMonotonic, name)
		return name + "_total", data.DataPoints
	case metricdata.Gauge[float64]:
		return name, data.DataPoints
	}
	t.Fatalf("%s is a %T", m.Name, m.Data)
	return "", nil
}
