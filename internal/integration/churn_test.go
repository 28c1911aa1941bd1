//go:build linux

package integration_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// A pool that keeps two idle connections, as database/sql does by default, closes
// what it opened a moment ago and opens it again: a login costs more than a hundred
// small queries.
func TestChurn(t *testing.T) {
	p := service.StartPostgres(t, 100)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			measure(t, func(t *testing.T) error { return compareChurn(t, p, driver) })
		})
	}
}

func compareChurn(t *testing.T, p *service.Postgres, driver string) error {
	work := load{query: "select pg_sleep(0.003)", workers: 32, think: 5 * time.Millisecond, queries: 600}
	plainMeter := newMeter(t, driver, p.DSN())
	plainDB := sql.OpenDB(plainMeter)
	plain := work.run(t.Context(), plainDB)
	require.NoError(t, plainDB.Close())

	work.queries = 3000 // it takes less time all the same
	oursMeter := newMeter(t, driver, p.DSN())
	connector := dbpool.NewConnector(oursMeter, dbpool.Dial{})
	oursDB, err := dbpool.Open(connector, dbpool.Server(32))
	require.NoError(t, err)
	from := dbpool.Snap(oursDB, connector)
	ours := work.run(t.Context(), oursDB)
	churn := dbpool.Snap(oursDB, connector).Since(from)
	require.NoError(t, oursDB.Close())

	perThousand := func(m *meter, o outcome) float64 { return 1000 * float64(m.opened.Load()) / float64(o.ok) }
	before, after := perThousand(plainMeter, plain), perThousand(oursMeter, ours)
	t.Logf("connects per 1000 queries: default %.1f, Server(32) %.1f (%d in all)", before, after, oursMeter.opened.Load())
	t.Logf("queries per second: default %.0f, Server(32) %.0f", plain.perSecond(), ours.perSecond())

	require.Zero(t, plain.failed+ours.failed, "%v, %v", plain.err, ours.err)
	require.EqualValues(t, oursMeter.opened.Load(), connector.Stats().Opened)
	require.Empty(t, dbpool.Advise(dbpool.Server(32), churn))
	require.LessOrEqual(t, oursMeter.opened.Load(), int64(32), "a connection was opened twice")
	if before < 10*after {
		return fmt.Errorf("connects per 1000 queries: %.1f is not 10 times %.1f", before, after)
	}
	if ours.perSecond() < 3*plain.perSecond() {
		return fmt.Errorf("queries per second: %.0f is not 3 times %.0f", ours.perSecond(), plain.perSecond())
	}
	return nil
}
