// Package promstats exports the Stats of the library to Prometheus.
//
// Each function returns a collector, which takes one snapshot for each scrape and
// has no goroutine. The label name tells several of a kind apart.
//
//	registry.MustRegister(promstats.Cache("tokens", cache), promstats.Pool("api", db))
package promstats

import (
	"database/sql"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/examples/observability/figures"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// Pacer exports the Stats of p.
func Pacer(name string, p *backoff.Pacer) prometheus.Collector {
	return collect(name, figures.Pacer(), p.Stats)
}

// Cache exports the Stats of c.
func Cache[C, V any](name string, c *ttlcache.Cache[C, V]) prometheus.Collector {
	return collect(name, figures.Cache(), c.Stats)
}

// Reuse exports the Stats of r.
func Reuse(name string, r *transport.Reuse) prometheus.Collector {
	return collect(name, figures.Reuse(), r.Stats)
}

// Gate exports the Stats of g.
func Gate(name string, g *listener.Gate) prometheus.Collector {
	return collect(name, figures.Gate(), g.Stats)
}

// Throttled exports the Stats of t.
func Throttled(name string, t *listener.Throttled) prometheus.Collector {
	return collect(name, figures.Throttled(), t.Stats)
}

// Dial exports the Stats of c.
func Dial(name string, c *dbpool.Connector) prometheus.Collector {
	return collect(name, figures.Dial(), c.Stats)
}

// Pool exports the Stats of db.
func Pool(name string, db *sql.DB) prometheus.Collector {
	return collect(name, figures.Pool(), db.Stats)
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
