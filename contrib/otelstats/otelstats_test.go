package otelstats_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/otelstats"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// register exports one value of a kind to a meter.
type register func(m metric.Meter, name string) (metric.Registration, error)

// everything returns one of each kind.
func everything(t *testing.T) map[string]register {
	t.Helper()
	db, connector := pool(t)
	gate := listener.NewGate(listenertest.New())
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	throttled := listener.Throttle(gate, listener.Limits{MaxPending: 1})
	cache, reuse, pacer := newCache(), &transport.Reuse{}, &backoff.Pacer{}
	return map[string]register{
		"Pacer": func(m metric.Meter, n string) (metric.Registration, error) { return otelstats.Pacer(m, n, pacer) },
		"Cache": func(m metric.Meter, n string) (metric.Registration, error) { return otelstats.Cache(m, n, cache) },
		"Reuse": func(m metric.Meter, n string) (metric.Registration, error) { return otelstats.Reuse(m, n, reuse) },
		"Gate":  func(m metric.Meter, n string) (metric.Registration, error) { return otelstats.Gate(m, n, gate) },
		"Throttled": func(m metric.Meter, n string) (metric.Registration, error) {
			return otelstats.Throttled(m, n, throttled)
		},
		"Dial": func(m metric.Meter, n string) (metric.Registration, error) { return otelstats.Dial(m, n, connector) },
		"Pool": func(m metric.Meter, n string) (metric.Registration, error) { return otelstats.Pool(m, n, db) },
	}
}

func pool(t testing.TB) (*sql.DB, *dbpool.Connector) {
	t.Helper()
	connector := dbpool.NewConnector((&dbpooltest.Server{}).Connector(), dbpool.Dial{})
	db, err := dbpool.Open(connector, dbpool.Server(5))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db, connector
}

func newCache() *ttlcache.Cache[string, string] {
	return ttlcache.New(func(context.Context, string) (string, error) { return "alice", nil },
		ttlcache.Config[string, string]{TTL: 1 << 40})
}

// Two of each kind stand side by side under their names, and an end is an end.
func TestRegistrations(t *testing.T) {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
	var registrations []metric.Registration
	for kind, register := range everything(t) {
		for _, name := range []string{"public", "private"} {
			r, err := register(meter, name)
			require.NoError(t, err, kind)
			registrations = append(registrations, r)
		}
	}
	all := collected(reader)
	require.Greater(t, len(all), 2*50)
	names := map[string]int{}
	for _, line := range all {
		name, rest, found := strings.Cut(line, "{")
		require.True(t, found, line)
		require.True(t, strings.HasPrefix(name, "connhygiene."), line)
		if strings.Contains(rest, "name=public") {
			names[name]++
		}
		if strings.Contains(rest, "name=private") {
			names[name]--
		}
	}
	for name, difference := range names {
		require.Zero(t, difference, name)
	}

	for _, r := range registrations {
		require.NoError(t, r.Unregister())
	}
	require.Empty(t, collected(reader))
}

// What is not there panics where it is named, not in a collection.
func TestNilPanics(t *testing.T) {
	m := noop.Meter{}
	for want, call := range map[string]func(){
		"otelstats: Pacer of nil":     func() { _, _ = otelstats.Pacer(m, "x", nil) },
		"otelstats: Cache of nil":     func() { _, _ = otelstats.Cache[string, string](m, "x", nil) },
		"otelstats: Reuse of nil":     func() { _, _ = otelstats.Reuse(m, "x", nil) },
		"otelstats: Gate of nil":      func() { _, _ = otelstats.Gate(m, "x", nil) },
		"otelstats: Throttled of nil": func() { _, _ = otelstats.Throttled(m, "x", nil) },
		"otelstats: Dial of nil":      func() { _, _ = otelstats.Dial(m, "x", nil) },
		"otelstats: Pool of nil":      func() { _, _ = otelstats.Pool(m, "x", nil) },
	} {
		require.PanicsWithValue(t, want, call)
	}
}

var errMeter = errors.New("no more instruments")

// A brokenMeter makes no gauges.
type brokenMeter struct{ noop.Meter }

func (brokenMeter) Float64ObservableGauge(string, ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return nil, errMeter
}

// The meter's error comes through.
func TestMeterError(t *testing.T) {
	_, err := otelstats.Pacer(brokenMeter{}, "x", &backoff.Pacer{})
	require.ErrorIs(t, err, errMeter)
}
