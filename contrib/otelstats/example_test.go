package otelstats_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/otelstats"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// collected returns what a collection brings: a line each, such as
// "connhygiene.ttlcache.hits{name=tokens} 2".
func collected(reader *sdk.ManualReader) []string {
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, point := range points(m) {
				labels := point.Attributes.Encoded(attribute.DefaultEncoder())
				lines = append(lines, fmt.Sprintf("%s{%s} %v", m.Name, labels, point.Value))
			}
		}
	}
	return lines
}

func points(m metricdata.Metrics) []metricdata.DataPoint[float64] {
	switch data := m.Data.(type) {
	case metricdata.Sum[float64]:
		return data.DataPoints
	case metricdata.Gauge[float64]:
		return data.DataPoints
	}
	return nil
}

// find returns the line of a metric.
func find(lines []string, metric string) string {
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, metric+"{") })
	if i < 0 {
		return "no " + metric
	}
	return lines[i]
}

func ExampleCache() {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("example.com/server")

	cache := ttlcache.New(func(context.Context, string) (string, error) { return "alice", nil },
		ttlcache.Config[string, string]{TTL: time.Minute})
	if _, err := otelstats.Cache(meter, "tokens", cache); err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		_, _ = cache.Get(context.Background(), "token")
	}
	fmt.Println(find(collected(reader), "connhygiene.ttlcache.hits"))
	// Output: connhygiene.ttlcache.hits{name=tokens} 2
}

func ExamplePacer() {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("example.com/server")

	pacer := &backoff.Pacer{MaxPending: 1}
	registration, err := otelstats.Pacer(meter, "logins", pacer)
	if err != nil {
		fmt.Println(err)
		return
	}
	slot, _ := pacer.Enter()
	defer slot.Done()
	_, _ = pacer.Enter() // is told when to come back
	fmt.Println(find(collected(reader), "connhygiene.backoff.pacer.turned_away"))
	_ = registration.Unregister() // when the pacer goes
	fmt.Println(len(collected(reader)))
	// Output:
	// connhygiene.backoff.pacer.turned_away{name=logins} 1
	// 0
}

func ExampleReuse() {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("example.com/server")

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer srv.Close()
	reuse := &transport.Reuse{Base: transport.New(10)}
	defer reuse.CloseIdleConnections()
	if _, err := otelstats.Reuse(meter, "api", reuse); err != nil {
		fmt.Println(err)
		return
	}
	for range 5 {
		resp, err := (&http.Client{Transport: reuse}).Get(srv.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
	}
	fmt.Println(find(collected(reader), "connhygiene.transport.reused"))
	// Output: connhygiene.transport.reused{name=api} 4
}

func ExampleGate() {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("example.com/server")

	gate := listener.NewGate(listenertest.New())
	defer gate.Close()
	if _, err := otelstats.Gate(meter, "public", gate); err != nil {
		fmt.Println(err)
		return
	}
	_ = gate.Open(context.Background())
	fmt.Println(find(collected(reader), "connhygiene.listener.gate.openings"))
	// Output: connhygiene.listener.gate.openings{name=public} 1
}

func ExampleThrottled() {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("example.com/server")

	inner := listenertest.New()
	throttled := listener.Throttle(inner, listener.Limits{MaxPending: 20})
	defer throttled.Close()
	if _, err := otelstats.Throttled(meter, "public", throttled); err != nil {
		fmt.Println(err)
		return
	}
	client, _ := inner.Dial(context.Background())
	defer client.Close()
	conn, _ := throttled.Accept()
	defer conn.Close()
	fmt.Println(find(collected(reader), "connhygiene.listener.throttle.pending"))
	// Output: connhygiene.listener.throttle.pending{name=public} 1
}

func ExampleDial() {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("example.com/server")

	connector := dbpool.NewConnector((&dbpooltest.Server{}).Connector(), dbpool.Dial{})
	db, err := dbpool.Open(connector, dbpool.Server(5))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	if _, err := otelstats.Dial(meter, "api", connector); err != nil {
		fmt.Println(err)
		return
	}
	_, _ = dbpool.Warm(context.Background(), db, 3)
	fmt.Println(find(collected(reader), "connhygiene.dbpool.dial.opened"))
	// Output: connhygiene.dbpool.dial.opened{name=api} 3
}

func ExamplePool() {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("example.com/server")

	db, err := dbpool.Open((&dbpooltest.Server{}).Connector(), dbpool.Server(5))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	if _, err := otelstats.Pool(meter, "api", db); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(find(collected(reader), "connhygiene.dbpool.connections_limit"))
	// Output: connhygiene.dbpool.connections_limit{name=api} 5
}
