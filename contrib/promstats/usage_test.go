package promstats_test

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/connhygiene/connhygiene/contrib/promstats"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// What the package comment shows.
var _ = func(registry prometheus.Registerer, cache *ttlcache.Cache[string, string], throttled *listener.Throttled) {
	registry.MustRegister(
		promstats.Cache("tokens", cache),
		promstats.Throttled("public", throttled),
	)
}
