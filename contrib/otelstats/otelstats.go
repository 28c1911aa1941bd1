// Package otelstats exports the Stats of connhygiene to OpenTelemetry.
//
// Each function adds observable instruments to a meter for one value: a cache, a
// listener, a pool. They take one snapshot per collection and have no goroutine, until
// Unregister of the [metric.Registration] ends them. The attribute name tells several of
// a kind apart, so two values of one kind need two names:
//
//	_, err := otelstats.Cache(otel.Meter("example.com/server"), "tokens", cache)
//
// An error is the meter's: no instrument stays behind that is observed. A nil value
// panics in the function that got it, not in a later collection. All functions may be
// called by several goroutines.
//
// OpenTelemetry's exporter for Prometheus makes of the names the same that
// contrib/promstats exports.
package otelstats

import (
	"context"
	"database/sql"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/figures"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// Pacer exports the Stats of p, as connhygiene.backoff.pacer.*.
func Pacer(m metric.Meter, name string, p *backoff.Pacer) (metric.Registration, error) {
	present("Pacer", p != nil)
	return observe(m, name, figures.Pacer(), p.Stats)
}

// Cache exports the Stats of c, as connhygiene.ttlcache.*.
func Cache[C, V any](m metric.Meter, name string, c *ttlcache.Cache[C, V]) (metric.Registration, error) {
	present("Cache", c != nil)
	return observe(m, name, figures.Cache(), c.Stats)
}

// Reuse exports the Stats of r, of all hosts together, as connhygiene.transport.*.
func Reuse(m metric.Meter, name string, r *transport.Reuse) (metric.Registration, error) {
	present("Reuse", r != nil)
	return observe(m, name, figures.Reuse(), r.Stats)
}

// Gate exports the Stats of g, as connhygiene.listener.gate.*.
func Gate(m metric.Meter, name string, g *listener.Gate) (metric.Registration, error) {
	present("Gate", g != nil)
	return observe(m, name, figures.Gate(), g.Stats)
}

// Throttled exports the Stats of t, as connhygiene.listener.throttle.*. The attribute
// reason of connhygiene.listener.throttle.rejected says which limit a connection met.
func Throttled(m metric.Meter, name string, t *listener.Throttled) (metric.Registration, error) {
	present("Throttled", t != nil)
	return observe(m, name, figures.Throttled(), t.Stats)
}

// Dial exports the Stats of c, as connhygiene.dbpool.dial.*.
func Dial(m metric.Meter, name string, c *dbpool.Connector) (metric.Registration, error) {
	present("Dial", c != nil)
	return observe(m, name, figures.Dial(), c.Stats)
}

// Pool exports the Stats of db, as connhygiene.dbpool.*.
func Pool(m metric.Meter, name string, db *sql.DB) (metric.Registration, error) {
	present("Pool", db != nil)
	return observe(m, name, figures.Pool(), db.Stats)
}

// present panics for a nil value, which would otherwise panic in a collection.
func present(kind string, ok bool) {
	if !ok {
		panic("otelstats: " + kind + " of nil")
	}
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
