// Package otelstats exports the Stats of the library to OpenTelemetry.
//
// Each function adds observable instruments to a meter, which take one snapshot for
// each collection, until the Registration is ended by Unregister. The attribute name
// tells several of a kind apart.
//
//	_, err := otelstats.Cache(otel.Meter("connhygiene"), "tokens", cache)
package otelstats

import (
	"context"
	"database/sql"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/examples/observability/figures"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// Pacer exports the Stats of p.
func Pacer(m metric.Meter, name string, p *backoff.Pacer) (metric.Registration, error) {
	return observe(m, name, figures.Pacer(), p.Stats)
}

// Cache exports the Stats of c.
func Cache[C, V any](m metric.Meter, name string, c *ttlcache.Cache[C, V]) (metric.Registration, error) {
	return observe(m, name, figures.Cache(), c.Stats)
}

// Reuse exports the Stats of r.
func Reuse(m metric.Meter, name string, r *transport.Reuse) (metric.Registration, error) {
	return observe(m, name, figures.Reuse(), r.Stats)
}

// Gate exports the Stats of g.
func Gate(m metric.Meter, name string, g *listener.Gate) (metric.Registration, error) {
	return observe(m, name, figures.Gate(), g.Stats)
}

// Throttled exports the Stats of t.
func Throttled(m metric.Meter, name string, t *listener.Throttled) (metric.Registration, error) {
	return observe(m, name, figures.Throttled(), t.Stats)
}

// Dial exports the Stats of c.
func Dial(m metric.Meter, name string, c *dbpool.Connector) (metric.Registration, error) {
	return observe(m, name, figures.Dial(), c.Stats)
}

// Pool exports the Stats of db.
func Pool(m metric.Meter, name string, db *sql.DB) (metric.Registration, error) {
	return observe(m, name, figures.Pool(), db.Stats)
}

// observe makes an instrument for each figure, and one callback for all of them.
func observe[S any](m metric.Meter, name string, all []figures.Figure[S], read func() S) (metric.Registration, error) {
	instruments := make([]metric.Float64Observable, len(all))
	observables := make([]metric.Observable, len(all))
	for i, f := range all {
		instrument, err := instrumentOf(m, f)
		if err != nil {
			return nil, err
		}
		instruments[i], observables[i] = instrument, instrument
	}
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := read()
		for i, f := range all {
			f.Each(s, func(label string, value float64) {
				attributes := []attribute.KeyValue{attribute.String("name", name)}
				if f.Label != "" {
					attributes = append(attributes, attribute.String(f.Label, label))
				}
				o.ObserveFloat64(instruments[i], value, metric.WithAttributes(attributes...))
			})
		}
		return nil
	}, observables...)
}

func instrumentOf[S any](m metric.Meter, f figures.Figure[S]) (metric.Float64Observable, error) {
	if f.Counter {
		return m.Float64ObservableCounter(f.Name, metric.WithUnit(f.Unit), metric.WithDescription(f.Help))
	}
	return m.Float64ObservableGauge(f.Name, metric.WithUnit(f.Unit), metric.WithDescription(f.Help))
}
