package dbpool_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// Each way to lose a connection is counted under its name, and the sum is the
// server's.
func TestChurnByReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond, QueryTime: time.Second}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		db, err := dbpool.Open(c, dbpool.Config{MaxOpen: 5, MaxIdle: 2, MaxIdleTime: time.Minute, MaxLifetime: time.Hour, Jitter: 1e-9})
		require.NoError(t, err)
		defer db.Close()
		from := dbpool.Snap(db, c)

		hold(t, db, 5) // three too many
		short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err = db.ExecContext(short, "dies of its deadline")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Minute) // the other idles for too long
		busy, err := db.Conn(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		require.NoError(t, busy.Close())                          // older than it may be
		require.Error(t, connectNow(t, c, time.Millisecond).err)  // abandoned
		time.Sleep(2 * time.Minute)                               // and not taken
		require.NoError(t, db.Ping())                             // one more, which stays
		srv.Refuse(true)                                          // and one that is refused
		require.Equal(t, "57P03", state(connectNow(t, c, 0).err)) // by a server that starts

		ch := dbpool.Snap(db, c).Since(from)
		stats := srv.Stats()
		require.Equal(t, dbpool.Churn{
			Opened: 8, ClosedIdle: 3, ClosedBad: 1, ClosedIdleTime: 1, ClosedLifetime: 1, Expired: 1, Overloaded: 1,
			PerSecond: 7 / ch.Window.Seconds(), Window: ch.Window,
		}, ch)
		require.Equal(t, stats.Opened, ch.Opened)
		require.EqualValues(t, 7, stats.Closed)
		require.InDelta(t, 7500, ch.Window.Seconds(), 300)
		require.Equal(t, dbpool.Churn{}, dbpool.Snap(db, c).Since(dbpool.Snap(db, c)))
	})
}

func TestChurnWithoutConnector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		db := sql.OpenDB(srv.Connector())
		defer db.Close()
		require.NoError(t, dbpool.Config{MaxOpen: 5, MaxIdle: 2}.Apply(db))
		from := dbpool.Snap(db, nil)
		time.Sleep(2 * time.Second)
		hold(t, db, 5)
		require.Equal(t, dbpool.Churn{Opened: 5, ClosedIdle: 3, PerSecond: 1.5, Window: 2 * time.Second},
			dbpool.Snap(db, nil).Since(from))
	})
}

func TestChurnCountsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{QueryTime: time.Second}
		db := open(t, srv, dbpool.Server(1))
		from := dbpool.Snap(db, nil)
		ended := make(chan error)
		for range 3 {
			go func() {
				_, err := db.Exec("takes a second")
				ended <- err
			}()
		}
		for range 3 {
			require.NoError(t, <-ended)
		}
		ch := dbpool.Snap(db, nil).Since(from)
		require.EqualValues(t, 2, ch.Waited)
		require.Equal(t, 1500*time.Millisecond, ch.MeanWait)
	})
}

// Snapshots in the wrong order, or of different pools, are no disaster.
func TestChurnIsNeverNegative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		db, err := dbpool.Open(c, dbpool.Config{MaxOpen: 5, MaxIdle: 1})
		require.NoError(t, err)
		defer db.Close()
		from := dbpool.Snap(db, c)
		hold(t, db, 5)
		time.Sleep(time.Second)
		require.Equal(t, dbpool.Churn{}, from.Since(dbpool.Snap(db, c)))
	})
}

// While dials are under way, database/sql counts them as open. They are no deaths.
func TestChurnDoesNotTakeDialsForDeaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Second}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		db, err := dbpool.Open(c, dbpool.Server(20))
		require.NoError(t, err)
		defer db.Close()
		from := dbpool.Snap(db, c)
		for range 10 {
			go db.Ping()
		}
		for range 10 {
			time.Sleep(300 * time.Millisecond)
			synctest.Wait()
			require.Zero(t, dbpool.Snap(db, c).Since(from).ClosedBad)
		}
		srv.Kill()
		for range 10 {
			go db.Exec("update") // finds dead ones only
		}
		time.Sleep(500 * time.Millisecond)
		require.Equal(t, 4, c.Stats().Dialing)
		require.EqualValues(t, 10, dbpool.Snap(db, c).Since(from).ClosedBad)
		time.Sleep(time.Minute)
	})
}

func TestAdvise(t *testing.T) {
	minute := dbpool.Churn{Window: time.Minute}
	with := func(change func(*dbpool.Churn)) dbpool.Churn {
		ch := minute
		change(&ch)
		return ch
	}
	pool := dbpool.Config{MaxOpen: 10, MaxIdle: 2}
	for _, tc := range []struct {
		name    string
		config  dbpool.Config
		churn   dbpool.Churn
		code    string
		field   string
		suggest int
		says    string
	}{
		{"nothing happened", pool, dbpool.Churn{}, "", "", 0, ""},
		{"a quiet minute", pool, minute, "", "", 0, ""},
		{
			"thrash", pool, with(func(ch *dbpool.Churn) { ch.Opened, ch.ClosedIdle = 100, 10 }),
			dbpool.IdleBelowOpen, "MaxIdle", 10, "10 of 100 connections were closed because 2 were idle",
		},
		{"a rare peak", pool, with(func(ch *dbpool.Churn) { ch.Opened, ch.ClosedIdle = 100, 9 }), "", "", 0, ""},
		{"a pool that was shrunk", dbpool.Server(10), with(func(ch *dbpool.Churn) { ch.Opened, ch.ClosedIdle = 0, 10 }), "", "", 0, ""},
		{
			"callers wait", pool, with(func(ch *dbpool.Churn) { ch.Waited, ch.MeanWait = 1200, 125*time.Millisecond }),
			dbpool.PoolTooSmall, "MaxOpen", 13, "1200 callers waited 125ms on average, 2.5 at each moment",
		},
		{"callers wait little", pool, with(func(ch *dbpool.Churn) { ch.Waited, ch.MeanWait = 1200, 49*time.Millisecond }), "", "", 0, ""},
		{
			"the server is full, and callers wait for it", pool,
			with(func(ch *dbpool.Churn) { ch.Overloaded, ch.Waited, ch.MeanWait = 3, 1200, time.Second }),
			dbpool.ServerFull, "MaxOpen", 0, "3 dials were refused",
		},
		{
			"a short life", pool, with(func(ch *dbpool.Churn) { ch.ClosedLifetime = 11 }),
			dbpool.LifetimeTooShort, "MaxLifetime", 300, "11 connections of a pool of 10 were closed in 1m0s because of MaxLifetime",
		},
		{"a long life", pool, with(func(ch *dbpool.Churn) { ch.ClosedLifetime = 10 }), "", "", 0, ""},
		{
			"a short idle time", pool, with(func(ch *dbpool.Churn) { ch.ClosedIdleTime = 11 }),
			dbpool.IdleTimeTooShort, "MaxIdleTime", 300, "because of MaxIdleTime",
		},
		{
			"deaths", pool, with(func(ch *dbpool.Churn) { ch.ClosedBad = 11 }),
			dbpool.ConnectionsDie, "MaxIdleTime", 0, "11 connections of a pool of 10 died",
		},
		{"a restart", pool, with(func(ch *dbpool.Churn) { ch.ClosedBad = 10 }), "", "", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := dbpool.Advise(tc.config, tc.churn)
			if tc.code == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Equal(t, tc.code, got[0].Code)
			require.Equal(t, tc.field, got[0].Field)
			require.Equal(t, tc.suggest, got[0].Suggest)
			require.Contains(t, got[0].Text, tc.says)
		})
	}
}

func TestAdviseGivesTheMostUrgentFirst(t *testing.T) {
	got := dbpool.Advise(dbpool.Config{MaxOpen: 1, MaxIdle: -1}, dbpool.Churn{
		Window: time.Minute, Overloaded: 1, Opened: 9, ClosedIdle: 9, ClosedBad: 9, ClosedLifetime: 9, ClosedIdleTime: 9,
	})
	var codes []string
	for _, a := range got {
		codes = append(codes, a.Code)
	}
	require.Equal(t, []string{
		dbpool.ServerFull, dbpool.IdleBelowOpen, dbpool.LifetimeTooShort, dbpool.IdleTimeTooShort, dbpool.ConnectionsDie,
	}, codes)
}

// Advice followed is advice no more.
func TestAdviceHelps(t *testing.T) {
	run := func(t *testing.T, cfg dbpool.Config) (advice []dbpool.Advice) {
		synctest.Test(t, func(t *testing.T) {
			srv := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, QueryTime: 3 * time.Millisecond}
			c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
			db, err := dbpool.Open(c, cfg)
			require.NoError(t, err)
			defer db.Close()
			from := dbpool.Snap(db, c)
			ended := make(chan struct{})
			for i := range 32 {
				go func() {
					for k := range 200 {
						_, _ = db.Exec("update")
						time.Sleep(time.Duration(1+(i*7+k*11)%20) * time.Millisecond) // it thinks
					}
					ended <- struct{}{}
				}()
			}
			for range 32 {
				<-ended
			}
			advice = dbpool.Advise(cfg, dbpool.Snap(db, c).Since(from))
		})
		return advice
	}
	thrashing := dbpool.Config{MaxOpen: 32, MaxIdle: 2}
	advice := run(t, thrashing)
	require.Len(t, advice, 1)
	require.Equal(t, dbpool.IdleBelowOpen, advice[0].Code)
	thrashing.MaxIdle = advice[0].Suggest
	require.Empty(t, run(t, thrashing))
}

// Connections that a flush has ended are no fault of MaxLifetime.
func TestAdviseKnowsFlushes(t *testing.T) {
	churn := dbpool.Churn{ClosedLifetime: 60, Opened: 60, Window: time.Minute}
	cfg := dbpool.Server(20)
	require.Equal(t, dbpool.LifetimeTooShort, dbpool.Advise(cfg, churn)[0].Code)
	churn.Flushed = 2
	require.Empty(t, dbpool.Advise(cfg, churn))

	synctest.Test(t, func(t *testing.T) {
		c := dbpool.NewConnector(new(dbpooltest.Server).Connector(), dbpool.Dial{})
		db, err := dbpool.Open(c, cfg)
		require.NoError(t, err)
		defer db.Close()
		_, err = dbpool.Warm(t.Context(), db, 20)
		require.NoError(t, err)
		before := dbpool.Snap(db, c)
		time.Sleep(time.Second)
		c.Flush()
		time.Sleep(time.Minute)
		got := dbpool.Snap(db, c).Since(before)
		require.EqualValues(t, 20, got.ClosedLifetime)
		require.EqualValues(t, 1, got.Flushed)
		require.Zero(t, got.ClosedBad)
	})
}
