//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// Four services with a pool each share a server that takes 50 connections. Without
// a limit they take each other's places; with one that a budget gave them, nobody
// is refused, and far more gets done.
func TestBudgetOfFourPools(t *testing.T) {
	p := service.StartPostgres(t, 50)
	shares := []dbpool.Share{{Name: "api"}, {Name: "agents"}, {Name: "internal"}, {Name: "reports"}}
	budget, err := dbpool.ServerBudget(t.Context(), newMeter(t, "pgx", p.DSN()))
	require.NoError(t, err)
	require.Equal(t, 50, budget.MaxConnections)
	require.Equal(t, 3, budget.Reserved, "for superusers")
	budget.Parallel = 1
	sizes, err := budget.Split(shares...)
	require.NoError(t, err)
	t.Logf("%+v: %v", budget, sizes)

	measure(t, func(t *testing.T) error {
		var unlimited, limited []*sql.DB
		for _, share := range shares {
			unlimited = append(unlimited, sql.OpenDB(newMeter(t, "pgx", p.DSN())))
			connector := dbpool.NewConnector(newMeter(t, "pgx", p.DSN()), dbpool.Dial{Parallel: budget.Parallel})
			db, err := dbpool.Open(connector, dbpool.Server(sizes[share.Name]))
			require.NoError(t, err)
			limited = append(limited, db)
		}
		before := runShared(t, unlimited)
		waitUntilAlone(t, p) // PostgreSQL ends a session some time after its client has left
		after := runShared(t, limited)
		t.Logf("queries per second: unlimited %.0f, budget %.0f", before.perSecond(), after.perSecond())
		t.Logf("too many clients: unlimited %d, budget %d", before.full, after.full)
		require.Zero(t, after.failed, "%v", after.err)
		if before.full == 0 {
			return errors.New("unlimited pools never met the limit: no pressure on the server")
		}
		if after.perSecond() < 5*before.perSecond() {
			return fmt.Errorf("queries per second: %.0f is not 5 times %.0f", after.perSecond(), before.perSecond())
		}
		return nil
	})
}

// waitUntilAlone waits until the server has no session but the one that asks.
func waitUntilAlone(t *testing.T, p *service.Postgres) {
	t.Helper()
	db := sql.OpenDB(newMeter(t, "pgx", p.DSN()))
	defer db.Close()
	require.Eventually(t, func() bool {
		var sessions int
		err := db.QueryRowContext(t.Context(), "select count(*) from pg_stat_activity where backend_type = 'client backend'").Scan(&sessions)
		return err == nil && sessions == 1
	}, waitLimit, waitTick)
}

func runShared(t *testing.T, pools []*sql.DB) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	got := load{query: "select pg_sleep(0.003)", workers: 64, think: 5 * time.Millisecond}.run(ctx, pools...)
	for _, db := range pools {
		require.NoError(t, db.Close())
	}
	return got
}
