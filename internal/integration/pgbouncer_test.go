//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

const tenants = 15

// Fifteen tenants share what PgBouncer may open. With fewer than about 2.5
// connections for each it closes one tenant's connection to serve another: the
// database spends its time on logins. Where the knee is differs by machine and
// load; that there is one does not.
func TestPgBouncerTenants(t *testing.T) {
	p := service.StartPostgres(t, 100)
	measure(t, func(t *testing.T) error {
		table := []string{"\nper tenant | logins/tenant/s | logins/1000 queries | mean    | thrash, by PerTenant | Advise"}
		logins := map[int]float64{}
		for _, limit := range []int{15, 20, 30, 38, 45, 60} {
			t.Run(fmt.Sprintf("%d connections", limit), func(t *testing.T) {
				row := runTenants(t, p, limit)
				logins[limit] = row.perThousand
				table = append(table, row.String())
			})
		}
		t.Log(strings.Join(table, "\n"))
		if few, many := logins[20], logins[60]; few < 5*many {
			return fmt.Errorf("logins per 1000 queries: %.1f at 1.3 a tenant is not 5 times %.1f at 4", few, many)
		}
		return nil
	})
}

// A tenantsRow is one line of the table.
type tenantsRow struct {
	perTenant   float64 // connections
	perSecond   float64 // logins of a tenant
	perThousand float64 // logins in a thousand queries
	mean        time.Duration
	thrash      bool     // says Budget.PerTenant
	advice      []string // codes that Advise gives one tenant
}

func (r tenantsRow) String() string {
	return fmt.Sprintf("%10.2f | %15.1f | %19.1f | %7v | %-20v | %v",
		r.perTenant, r.perSecond, r.perThousand, r.mean.Round(100*time.Microsecond), r.thrash, r.advice)
}

// runTenants plays a load with so many connections for all tenants.
func runTenants(t *testing.T, p *service.Postgres, limit int) tenantsRow {
	t.Helper()
	pooler := service.StartPgBouncer(t, p, service.PgBouncerConfig{Tenants: tenants, PoolSize: 20, MaxConnections: limit})
	config := dbpool.PgBouncer(4)
	var pools []*sql.DB
	var connectors []*dbpool.Connector
	for i := range tenants {
		base := newMeter(t, "pgx", pooler.DSN(i)+"&default_query_exec_mode=simple_protocol")
		connector := dbpool.NewConnector(base, dbpool.Dial{})
		db, err := dbpool.Open(connector, config)
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		pools, connectors = append(pools, db), append(connectors, connector)
	}

	// By number and not by time: a machine that is slow takes longer for the same.
	work := load{query: "select pg_sleep(0.003)", workers: 4, think: 10 * time.Millisecond, queries: 300}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	work.run(ctx, pools...) // the first logins are no churn

	work.queries = 1500
	connects, snap := p.Connects(), dbpool.Snap(pools[0], connectors[0])
	got := work.run(ctx, pools...)
	require.Zero(t, got.failed, "%v", got.err)
	require.NotZero(t, got.ok)
	churn := dbpool.Snap(pools[0], connectors[0]).Since(snap)
	logins := float64(p.Connects() - connects)
	row := tenantsRow{
		perSecond:   logins / tenants / got.took.Seconds(),
		perThousand: 1000 * logins / float64(got.ok),
		mean:        got.took*time.Duration(work.workers*tenants)/time.Duration(got.ok) - work.think,
	}
	row.perTenant, row.thrash = dbpool.Budget{MaxConnections: limit}.PerTenant(tenants)
	for _, advice := range dbpool.Advise(config, churn) {
		row.advice = append(row.advice, advice.Code)
	}
	return row
}
