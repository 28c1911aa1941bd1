// Package promstats exports the Stats of connhygiene to Prometheus.
//
// Each function returns a collector for one value: a cache, a listener, a pool. The
// collector takes one snapshot per scrape and has no goroutine. The label name tells
// several of a kind apart, so two collectors of one kind need two names:
//
//	registry.MustRegister(
//		promstats.Cache("tokens", cache),
//		promstats.Throttled("public", throttled),
//	)
//
// Registering a second collector of the same kind and name is an error of
// [prometheus.Registerer], and so is a name that is no valid UTF-8. A nil value panics
// in the function that got it, not in a later scrape. Collectors may be used by any
// number of goroutines.
//
// The names of metrics follow Prometheus's conventions: connhygiene_ttlcache_hits_total,
// connhygiene_listener_throttle_pending. dashboard.json in this module shows them
// in Grafana.
package promstats

import (
	"database/sql"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/figures"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// Pacer exports the Stats of p, as connhygiene_backoff_pacer_*.
func Pacer(name string, p *backoff.Pacer) prometheus.Collector {
	present("Pacer", p != nil)
	return collect(name, figures.Pacer(), p.Stats)
}

// Cache exports the Stats of c, as connhygiene_ttlcache_*.
func Cache[C, V any](name string, c *ttlcache.Cache[C, V]) prometheus.Collector {
	present("Cache", c != nil)
	return collect(name, figures.Cache(), c.Stats)
}

// Reuse exports the Stats of r, of all hosts together, as connhygiene_transport_*.
func Reuse(name string, r *transport.Reuse) prometheus.Collector {
	present("Reuse", r != nil)
	return collect(name, figures.Reuse(), r.Stats)
}

// Gate exports the Stats of g, as connhygiene_listener_gate_*.
func Gate(name string, g *listener.Gate) prometheus.Collector {
	present("Gate", g != nil)
	return collect(name, figures.Gate(), g.Stats)
}

// Throttled exports the Stats of t, as connhygiene_listener_throttle_*. The label reason
// of connhygiene_listener_throttle_rejected_total says which limit a connection met.
func Throttled(name string, t *listener.Throttled) prometheus.Collector {
	present("Throttled", t != nil)
	return collect(name, figures.Throttled(), t.Stats)
}

// Dial exports the Stats of c, as connhygiene_dbpool_dial_*.
func Dial(name string, c *dbpool.Connector) prometheus.Collector {
	present("Dial", c != nil)
	return collect(name, figures.Dial(), c.Stats)
}

// Pool exports the Stats of db, as connhygiene_dbpool_*. A process that registers
// collectors.NewDBStatsCollector has the same numbers already, as go_sql_*.
func Pool(name string, db *sql.DB) prometheus.Collector {
	present("Pool", db != nil)
	return collect(name, figures.Pool(), db.Stats)
}

// present panics for a nil value, which would otherwise panic in a scrape.
func present(kind string, ok bool) {
	if !ok {
		panic("promstats: " + kind + " of nil")
	}
}

// A collector exports the figures of what read returns.
type collector[S any] struct {
	figures []figures.Figure[S]
	descs   []*prometheus.Desc // of the figure with the same index
	read    func() S
}

func collect[S any](name string, all []figures.Figure[S], read func() S) *collector[S] {
	c := &collector[S]{figures: all, read: read}
	for _, f := range all {
		var labels []string
		if f.Label != "" {
			labels = []string{f.Label}
		}
		c.descs = append(c.descs, prometheus.NewDesc(f.Prometheus(), f.Help, labels, prometheus.Labels{"name": name}))
	}
	return c
}

// Describe names the figures.
func (c *collector[S]) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		ch <- desc
	}
}

// Collect takes a snapshot.
func (c *collector[S]) Collect(ch chan<- prometheus.Metric) {
	s := c.read()
	for i, f := range c.figures {
		kind := prometheus.GaugeValue
		if f.Counter {
			kind = prometheus.CounterValue
		}
		f.Each(s, func(label string, value float64) {
			var labels []string
			if f.Label != "" {
				labels = []string{label}
			}
			ch <- prometheus.MustNewConstMetric(c.descs[i], kind, value, labels...)
		})
	}
}
