//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// A hundred callers with 60 ms each meet an empty pool. Where each dials for
// itself, all dials are slow, each caller leaves before his is done, and his work
// is thrown away: for ever, in the worst case. To limit the dials without keeping
// what they yield makes it worse.
func TestColdPoolWithDeadlines(t *testing.T) {
	p := service.StartPostgres(t, 120)
	measure(t, func(t *testing.T) error {
		plain := runCold(t, p, func(m *meter) driver.Connector { return m })
		alone := runCold(t, p, func(m *meter) driver.Connector { return &gate{m, make(chan struct{}, 4)} })
		ours := runCold(t, p, func(m *meter) driver.Connector { return dbpool.NewConnector(m, dbpool.Dial{}) })
		t.Logf("queries per second: plain %.0f, a gate alone %.0f, Open %.0f", plain.perSecond(), alone.perSecond(), ours.perSecond())
		t.Logf("connections: plain %d, a gate alone %d, Open %d", plain.opened, alone.opened, ours.opened)
		t.Logf("dials in vain: plain %d, a gate alone %d, Open %d", plain.wasted, alone.wasted, ours.wasted)
		require.NotZero(t, ours.ok)
		if ours.perSecond() < 2*plain.perSecond() {
			return fmt.Errorf("queries per second: %.0f is not twice %.0f", ours.perSecond(), plain.perSecond())
		}
		if ours.opened < 2*plain.opened {
			return fmt.Errorf("connections: %d is not twice %d", ours.opened, plain.opened)
		}
		if plain.wasted < 10*ours.wasted {
			return fmt.Errorf("dials in vain: %d is not 10 times %d", plain.wasted, ours.wasted)
		}
		return nil
	})
}

type coldOutcome struct {
	outcome
	opened, wasted int64 // dials that yielded a connection, and that did not
}

func runCold(t *testing.T, p *service.Postgres, wrap func(*meter) driver.Connector) coldOutcome {
	t.Helper()
	m := newMeter(t, "pgx", p.DSN())
	db := sql.OpenDB(wrap(m))
	require.NoError(t, dbpool.Server(100).Apply(db))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	got := load{query: "select pg_sleep(0.005)", workers: 100, deadline: 60 * time.Millisecond}.run(ctx, db)
	require.NoError(t, db.Close())
	return coldOutcome{got, m.opened.Load(), m.dials.Load() - m.opened.Load()}
}

// A gate lets so many dials through at once and does nothing else, which is what
// people write first.
type gate struct {
	driver.Connector
	slots chan struct{}
}

// Connect implements [driver.Connector].
func (g *gate) Connect(ctx context.Context) (driver.Conn, error) {
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-g.slots }()
	return g.Connector.Connect(ctx)
}
