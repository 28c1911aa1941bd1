package promstats_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/promstats"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everything returns one collector of each kind.
func everything(t *testing.T, name string) []prometheus.Collector {
	t.Helper()
	db, connector := pool(t)
	gate := listener.NewGate(listenertest.New())
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return []prometheus.Collector{
		promstats.Pacer(name, &backoff.Pacer{}),
		promstats.Cache(name, newCache()),
		promstats.Reuse(name, &transport.Reuse{}),
		promstats.Gate(name, gate),
		promstats.Throttled(name, listener.Throttle(gate, listener.Limits{MaxPending: 1})),
		promstats.Dial(name, connector),
		promstats.Pool(name, db),
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

var errBad = errors.New("bad token")

func newCache() *ttlcache.Cache[string, string] {
	return ttlcache.New(func(context.Context, string) (string, error) { return "alice", nil },
		ttlcache.Config[string, string]{TTL: 1 << 40, Denied: func(err error) bool { return errors.Is(err, errBad) }})
}

// Several of each kind stand side by side in a registry that checks what it gets, and
// Prometheus's own conventions hold.
func TestRegistry(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(everything(t, "public")...)
	registry.MustRegister(everything(t, "private")...)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Greater(t, len(families), 50)
	for _, family := range families {
		require.True(t, strings.HasPrefix(family.GetName(), "connhygiene_"), family.GetName())
		require.NotEmpty(t, family.GetHelp(), family.GetName())
	}
}

// The second of a name, and a name that Prometheus cannot carry, are errors of Register.
func TestRegisterRefuses(t *testing.T) {
	for i, first := range everything(t, "public") {
		registry := prometheus.NewRegistry()
		require.NoError(t, registry.Register(first))
		require.ErrorAs(t, registry.Register(everything(t, "public")[i]), new(prometheus.AlreadyRegisteredError))
		require.ErrorContains(t, registry.Register(everything(t, "\xff")[i]), "not valid UTF-8")
	}
}

// What is not there panics where it is named, not in a scrape.
func TestNilPanics(t *testing.T) {
	for want, call := range map[string]func(){
		"promstats: Pacer of nil":     func() { promstats.Pacer("x", nil) },
		"promstats: Cache of nil":     func() { promstats.Cache[string, string]("x", nil) },
		"promstats: Reuse of nil":     func() { promstats.Reuse("x", nil) },
		"promstats: Gate of nil":      func() { promstats.Gate("x", nil) },
		"promstats: Throttled of nil": func() { promstats.Throttled("x", nil) },
		"promstats: Dial of nil":      func() { promstats.Dial("x", nil) },
		"promstats: Pool of nil":      func() { promstats.Pool("x", nil) },
	} {
		require.PanicsWithValue(t, want, call)
	}
}

// A scrape shows one moment: what is rejected under a label, and what is open.
func TestScrape(t *testing.T) {
	inner := listenertest.New()
	throttled := listener.Throttle(inner, listener.Limits{MaxConns: 1, Overflow: listener.Reset})
	defer throttled.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		for {
			c, err := throttled.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	first, err := inner.Dial(t.Context())
	require.NoError(t, err)
	defer first.Close()
	served := <-accepted
	defer served.Close()
	second, err := inner.Dial(t.Context())
	require.NoError(t, err)
	_, err = second.Read(make([]byte, 1))
	require.Error(t, err, "beyond MaxConns")

	collector := promstats.Throttled("public", throttled)
	require.Equal(t, `connhygiene_listener_throttle_open{name="public"} 1`+"\n", scraped(collector, "connhygiene_listener_throttle_open"))
	require.Contains(t, scraped(collector, "connhygiene_listener_throttle_rejected"),
		`connhygiene_listener_throttle_rejected_total{name="public",reason="conns"} 1`+"\n")
}

// Each name on the dashboard is exported, and what counts is shown as a rate.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	exported := described(everything(t, "public"))
	ids, packages := map[int]bool{}, map[string]bool{}
	for _, panel := range dashboard.Panels {
		require.False(t, ids[panel.ID], "panel %d twice", panel.ID)
		ids[panel.ID] = true
		require.Equal(t, panel.Type == "row", len(panel.Targets) == 0, panel.Title)
		for _, target := range panel.Targets {
			names := regexp.MustCompile(`(rate\()?\b((connhygiene_[a-z]+)_[a-z_]+)`).FindAllStringSubmatch(target.Expr, -1)
			require.NotEmpty(t, names, target.Expr)
			for _, name := range names {
				require.True(t, exported[name[2]], "%s: %s", panel.Title, name[2])
				require.Equal(t, strings.HasSuffix(name[2], "_total"), name[1] != "", "%s: %s", panel.Title, target.Expr)
				packages[name[3]] = true
			}
		}
	}
	require.Len(t, packages, 5)
}

// described returns the names that the collectors promise to export.
func described(all []prometheus.Collector) map[string]bool {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		for _, c := range all {
			c.Describe(descs)
		}
	}()
	names := map[string]bool{}
	for desc := range descs {
		names[regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(desc.String())[1]] = true
	}
	return names
}
