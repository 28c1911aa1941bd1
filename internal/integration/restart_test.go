//go:build linux

package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// A server that restarts is dialled by everybody at once, all the time that it is
// away. Ours sends one probe at a time, and fills the pool as soon as one gets in.
func TestRestartUnderLoad(t *testing.T) {
	p := service.StartPostgres(t, 100)
	measure(t, func(t *testing.T) error {
		plain := runRestart(t, p, func(m *meter) driver.Connector { return m })
		ours := runRestart(t, p, func(m *meter) driver.Connector { return dbpool.NewConnector(m, dbpool.Dial{}) })
		t.Logf("dials in the second without a server: plain %d, Open %d", plain.dials, ours.dials)
		t.Logf("pool full again after: plain %v, Open %v", plain.refilled, ours.refilled)
		if plain.dials < 5*ours.dials {
			return fmt.Errorf("dials: %d is not 5 times %d", plain.dials, ours.dials)
		}
		if ours.refilled == 0 {
			return errors.New("the pool is not full again 10 s after the server came back")
		}
		return nil
	})
}

type recovery struct {
	dials    int64         // in the second after the server began to stop
	refilled time.Duration // from the server's return to a full pool; 0 not within 10 s
}

const restartPool = 50

func runRestart(t *testing.T, p *service.Postgres, wrap func(*meter) driver.Connector) recovery {
	t.Helper()
	m := newMeter(t, "pgx", p.DSN())
	db := sql.OpenDB(wrap(m))
	require.NoError(t, dbpool.Server(restartPool).Apply(db))
	defer func() { require.NoError(t, db.Close()) }()
	_, err := dbpool.Warm(t.Context(), db, restartPool)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan outcome)
	go func() {
		ended <- load{query: "select pg_sleep(0.02)", workers: 200, think: 20 * time.Millisecond, deadline: 2 * time.Second}.run(ctx, db)
	}()
	defer func() {
		cancel()
		got := <-ended
		t.Logf("ok %d, failed %d, dials %d, of which opened %d", got.ok, got.failed, m.dials.Load(), m.opened.Load())
	}()

	pause(ctx, 500*time.Millisecond) // the load at its ordinary pace
	before := m.dials.Load()
	second := time.NewTimer(time.Second)
	require.NoError(t, p.Stop())
	<-second.C
	got := recovery{dials: m.dials.Load() - before}
	before = m.opened.Load()
	require.NoError(t, p.Start())
	back := time.Now()
	for time.Since(back) < 10*time.Second && pause(ctx, 10*time.Millisecond) {
		if m.opened.Load()-before >= restartPool {
			got.refilled = time.Since(back)
			break
		}
	}
	return got
}
