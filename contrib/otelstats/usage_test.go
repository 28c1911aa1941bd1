package otelstats_test

import (
	"go.opentelemetry.io/otel"

	"github.com/connhygiene/connhygiene/contrib/otelstats"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// What the package comment shows.
var _ = func(cache *ttlcache.Cache[string, string]) error {
	_, err := otelstats.Cache(otel.Meter("example.com/server"), "tokens", cache)
	return err
}
