package promstats_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/promstats"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// scraped returns the lines of a metric, as the collector's /metrics page has them.
func scraped(c prometheus.Collector, metric string) string {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	page := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var lines strings.Builder
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, metric) {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

func ExampleCache() {
	cache := ttlcache.New(func(context.Context, string) (string, error) { return "alice", nil },
		ttlcache.Config[string, string]{TTL: time.Minute})
	for range 3 {
		_, _ = cache.Get(context.Background(), "token")
	}
	fmt.Print(scraped(promstats.Cache("tokens", cache), "connhygiene_ttlcache_hits"))
	// Output: connhygiene_ttlcache_hits_total{name="tokens"} 2
}

func ExamplePacer() {
	pacer := &backoff.Pacer{MaxPending: 1}
	slot, _ := pacer.Enter()
	defer slot.Done()
	_, _ = pacer.Enter() // is told when to come back
	fmt.Print(scraped(promstats.Pacer("logins", pacer), "connhygiene_backoff_pacer_turned_away"))
	// Output: connhygiene_backoff_pacer_turned_away_total{name="logins"} 1
}

func ExampleReuse() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer srv.Close()
	reuse := &transport.Reuse{Base: transport.New(10)}
	defer reuse.CloseIdleConnections()
	client := &http.Client{Transport: reuse}
	for range 5 {
		resp, err := client.Get(srv.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
	}
	fmt.Print(scraped(promstats.Reuse("api", reuse), "connhygiene_transport_reused"))
	// Output: connhygiene_transport_reused_total{name="api"} 4
}

func ExampleGate() {
	gate := listener.NewGate(listenertest.New())
	defer gate.Close()
	_ = gate.Open(context.Background())
	fmt.Print(scraped(promstats.Gate("public", gate), "connhygiene_listener_gate_openings"))
	// Output: connhygiene_listener_gate_openings_total{name="public"} 1
}

func ExampleThrottled() {
	inner := listenertest.New()
	throttled := listener.Throttle(inner, listener.Limits{MaxPending: 20})
	defer throttled.Close()
	client, _ := inner.Dial(context.Background())
	defer client.Close()
	conn, _ := throttled.Accept()
	defer conn.Close()
	fmt.Print(scraped(promstats.Throttled("public", throttled), "connhygiene_listener_throttle_pending{"))
	// Output: connhygiene_listener_throttle_pending{name="public"} 1
}

func ExampleDial() {
	connector := dbpool.NewConnector((&dbpooltest.Server{}).Connector(), dbpool.Dial{})
	db, err := dbpool.Open(connector, dbpool.Server(5))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	_, _ = dbpool.Warm(context.Background(), db, 3)
	fmt.Print(scraped(promstats.Dial("api", connector), "connhygiene_dbpool_dial_opened"))
	// Output: connhygiene_dbpool_dial_opened_total{name="api"} 3
}

func ExamplePool() {
	db, err := dbpool.Open((&dbpooltest.Server{}).Connector(), dbpool.Server(5))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	fmt.Print(scraped(promstats.Pool("api", db), "connhygiene_dbpool_connections_limit"))
	// Output: connhygiene_dbpool_connections_limit{name="api"} 5
}
