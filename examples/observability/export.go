package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/metric"

	"github.com/connhygiene/connhygiene/contrib/otelstats"
	"github.com/connhygiene/connhygiene/contrib/promstats"
)

// registry exports all Stats of s to Prometheus.
func (s *service) registry() *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(
		promstats.Gate("public", s.gate),
		promstats.Throttled("public", s.throttled),
		promstats.Pacer("logins", s.pacer),
		promstats.Cache("tokens", s.tokens),
		promstats.Dial("auth", s.connector),
		promstats.Pool("auth", s.db),
		promstats.Reuse("agents", s.reuse),
	)
	return registry
}

// observe exports all Stats of s to OpenTelemetry.
func (s *service) observe(m metric.Meter) error {
	var errs []error
	add := func(_ metric.Registration, err error) { errs = append(errs, err) }
	add(otelstats.Gate(m, "public", s.gate))
	add(otelstats.Throttled(m, "public", s.throttled))
	add(otelstats.Pacer(m, "logins", s.pacer))
	add(otelstats.Cache(m, "tokens", s.tokens))
	add(otelstats.Dial(m, "auth", s.connector))
	add(otelstats.Pool(m, "auth", s.db))
	add(otelstats.Reuse(m, "agents", s.reuse))
	return errors.Join(errs...)
}
