package dbpool_test

import (
	"database/sql"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// fieldErrors returns the fields of all FieldErrors in err.
func fieldErrors(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "%T", err)
	var fields []string
	for _, err := range joined.Unwrap() {
		var fieldErr *dbpool.FieldError
		require.ErrorAs(t, err, &fieldErr)
		require.NotEmpty(t, fieldErr.Reason)
		fields = append(fields, fieldErr.Field)
	}
	return fields
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config dbpool.Config
		want   []string
	}{
		{"one connection", dbpool.Config{MaxOpen: 1}, nil},
		{"all", dbpool.Config{MaxOpen: 9, MaxIdle: 9, MaxLifetime: 1, Jitter: 0.999, MaxIdleTime: 1}, nil},
		{"off below zero", dbpool.Config{MaxOpen: 9, MaxIdle: -1, MaxLifetime: -1, MaxIdleTime: -1}, nil},
		{"zero", dbpool.Config{}, []string{"MaxOpen"}},
		{"negative", dbpool.Config{MaxOpen: -1}, []string{"MaxOpen"}},
		{"idle above open", dbpool.Config{MaxOpen: 2, MaxIdle: 3}, []string{"MaxIdle"}},
		{"jitter one", dbpool.Config{MaxOpen: 1, Jitter: 1}, []string{"Jitter"}},
		{"jitter negative", dbpool.Config{MaxOpen: 1, Jitter: -0.1}, []string{"Jitter"}},
		{"jitter NaN", dbpool.Config{MaxOpen: 1, Jitter: math.NaN()}, []string{"Jitter"}},
		{"jitter infinite", dbpool.Config{MaxOpen: 1, Jitter: math.Inf(1)}, []string{"Jitter"}},
		{"everything", dbpool.Config{MaxIdle: 3, Jitter: 2}, []string{"MaxOpen", "MaxIdle", "Jitter"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, fieldErrors(t, tc.config.Validate()))
			db := sql.OpenDB(new(dbpooltest.Server).Connector())
			defer db.Close()
			require.Equal(t, tc.want, fieldErrors(t, tc.config.Apply(db)))
			if tc.want != nil {
				require.Zero(t, db.Stats().MaxOpenConnections, "a bad config changes nothing")
			}
		})
	}
}

func TestFieldErrorSaysFieldValueAndReason(t *testing.T) {
	err := dbpool.Config{MaxOpen: 2, MaxIdle: 3}.Validate()
	require.EqualError(t, err, "dbpool: MaxIdle 3: must not be above MaxOpen, which is 2")
}

func TestApplyNil(t *testing.T) {
	var fieldErr *dbpool.FieldError
	require.ErrorAs(t, dbpool.Server(1).Apply(nil), &fieldErr)
	require.Equal(t, "db", fieldErr.Field)
}

// In the other order, database/sql cuts the idle connections to the old limit.
func TestApplyRaisesBothLimits(t *testing.T) {
	for name, config := range map[string]dbpool.Config{
		"MaxIdle is MaxOpen by default": {MaxOpen: 9},
		"MaxIdle given":                 {MaxOpen: 9, MaxIdle: 9},
	} {
		t.Run(name, func(t *testing.T) {
			var srv dbpooltest.Server
			db := sql.OpenDB(srv.Connector())
			defer db.Close()
			db.SetMaxOpenConns(3)
			require.NoError(t, config.Apply(db))
			hold(t, db, 9)
			require.Equal(t, 9, db.Stats().Idle)
			require.Zero(t, srv.Stats().Closed)
		})
	}
}

// hold takes n connections at once and returns them.
func hold(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	for range n {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
	}
}

func TestApplyIdleBelowZeroKeepsNone(t *testing.T) {
	var srv dbpooltest.Server
	db := sql.OpenDB(srv.Connector())
	defer db.Close()
	require.NoError(t, dbpool.Config{MaxOpen: 9, MaxIdle: -1}.Apply(db))
	hold(t, db, 3)
	require.EqualValues(t, 3, srv.Stats().Closed)
}

func TestApplyReplacesAllSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		db := sql.OpenDB(srv.Connector())
		defer db.Close()
		require.NoError(t, dbpool.Config{MaxOpen: 2, MaxLifetime: time.Hour, MaxIdleTime: time.Minute}.Apply(db))
		require.NoError(t, dbpool.Config{MaxOpen: 2}.Apply(db))
		require.NoError(t, db.Ping())
		time.Sleep(2 * time.Hour)
		require.Equal(t, 1, srv.Stats().Open)
	})
}

func TestApplySetsIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		db := sql.OpenDB(srv.Connector())
		defer db.Close()
		require.NoError(t, dbpool.Config{MaxOpen: 2, MaxIdleTime: time.Minute}.Apply(db))
		require.NoError(t, db.Ping())
		time.Sleep(59 * time.Second)
		require.Equal(t, 1, srv.Stats().Open)
		time.Sleep(2*time.Minute - 59*time.Second)
		require.Zero(t, srv.Stats().Open)
		require.EqualValues(t, 1, db.Stats().MaxIdleTimeClosed)
	})
}

// lifetimes returns the lives of the first connections of n pools, to the minute.
func lifetimes(t *testing.T, n int, config dbpool.Config) (lives []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		servers := make([]dbpooltest.Server, n)
		for i := range servers {
			db := sql.OpenDB(servers[i].Connector())
			defer db.Close()
			require.NoError(t, config.Apply(db))
			require.NoError(t, db.Ping())
		}
		from := time.Now()
		gone := make([]bool, n)
		for len(lives) < n && time.Since(from) < 3*config.MaxLifetime {
			time.Sleep(time.Minute)
			for i := range servers {
				if !gone[i] && servers[i].Stats().Closed > 0 {
					gone[i] = true
					lives = append(lives, time.Since(from))
				}
			}
		}
	})
	require.Len(t, lives, n)
	return lives
}

// Each pool draws its lifetime from (0.75, 1] of what was asked for: shorter only,
// and spread evenly.
func TestLifetimeIsSpread(t *testing.T) {
	const n = 600
	var sum time.Duration
	minutes := map[time.Duration]int{}
	for _, life := range lifetimes(t, n, dbpool.Config{MaxOpen: 1, MaxLifetime: 100 * time.Minute}) {
		require.Greater(t, life, 75*time.Minute)
		require.LessOrEqual(t, life, 101*time.Minute, "a minute is the grain of this test")
		sum += life
		minutes[life]++
	}
	require.InDelta(t, 88, (sum / n).Minutes(), 1.5) // 87.5 and half a minute; deviation of the mean is 0.3
	for minute, count := range minutes {
		require.Less(t, count, 60, "at %v", minute) // 24 expected, deviation 4.8
	}
}

func TestLifetimeWithoutJitter(t *testing.T) {
	for _, life := range lifetimes(t, 20, dbpool.Config{MaxOpen: 1, MaxLifetime: 10 * time.Minute, Jitter: 1e-9}) {
		require.InDelta(t, 10, life.Minutes(), 1)
	}
}

func TestPresets(t *testing.T) {
	for name, config := range map[string]dbpool.Config{
		"Server": dbpool.Server(32), "AuthPath": dbpool.AuthPath(32), "PgBouncer": dbpool.PgBouncer(32),
		"Agent": dbpool.Agent(), "Lambda": dbpool.Lambda(),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, config.Validate())
			require.Equal(t, config.MaxOpen, config.MaxIdle)
			require.Positive(t, config.MaxLifetime)
			require.Equal(t, name == "AuthPath", config.MaxIdleTime == 0, "all but AuthPath shrink")
			require.GreaterOrEqual(t, config.MaxOpen, 2, "a query within a query must not hang")
		})
	}
	require.Equal(t, 32, dbpool.Server(32).MaxOpen)
	require.Error(t, dbpool.Server(0).Validate())
}

func TestConfigString(t *testing.T) {
	require.Equal(t, "open 50, idle 50, lifetime 45m0s to 1h0m0s, idle time 10m0s", dbpool.Server(50).String())
	require.Equal(t, "open 9, idle 0, lifetime unlimited, idle time unlimited", dbpool.Config{MaxOpen: 9, MaxIdle: -5}.String())
}

// A config is either refused with a reason or does what it says.
func FuzzConfig(f *testing.F) {
	f.Add(50, 20, int64(time.Hour), 0.25, int64(time.Minute))
	f.Add(0, -1, int64(math.MinInt64), math.NaN(), int64(math.MinInt64))
	f.Add(math.MaxInt, math.MaxInt, int64(math.MaxInt64), 0.999, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, maxOpen, maxIdle int, lifetime int64, jitter float64, idleTime int64) {
		cfg := dbpool.Config{
			MaxOpen: maxOpen, MaxIdle: maxIdle, MaxLifetime: time.Duration(lifetime),
			Jitter: jitter, MaxIdleTime: time.Duration(idleTime),
		}
		db := sql.OpenDB(new(dbpooltest.Server).Connector())
		defer db.Close()
		err := cfg.Apply(db)
		if limit := db.Stats().MaxOpenConnections; (err == nil) != (cfg.Validate() == nil) || err == nil && (limit < 1 || limit != maxOpen) {
			t.Fatalf("%v: %v, MaxOpen %d", cfg, err, limit)
		}
	})
}
