package dbpool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

func TestPerProcess(t *testing.T) {
	for _, tc := range []struct {
		name   string
		budget dbpool.Budget
		want   int
	}{
		{"four pools on 50", dbpool.Budget{MaxConnections: 50, Reserved: 6, Replicas: 4, Parallel: -1}, 11},
		{"and their dials", dbpool.Budget{MaxConnections: 50, Reserved: 6, Replicas: 4}, 7},
		{"one at a time", dbpool.Budget{MaxConnections: 50, Reserved: 6, Replicas: 4, Parallel: 1}, 10},
		{"one process", dbpool.Budget{MaxConnections: 100}, 96},
		{"a rollout", dbpool.Budget{MaxConnections: 100, Replicas: 4, Surge: 0.25, Parallel: -1}, 20},
		{"rounded up", dbpool.Budget{MaxConnections: 100, Replicas: 3, Surge: 0.25, Parallel: -1}, 25},
		{"7 % of 100 is 7", dbpool.Budget{MaxConnections: 1070, Replicas: 100, Surge: 0.07, Parallel: -1}, 10},
		{"the last one", dbpool.Budget{MaxConnections: 5}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.budget.PerProcess()
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestSplit(t *testing.T) {
	budget := dbpool.Budget{MaxConnections: 103, Reserved: 3, Parallel: -1}
	type sizes = map[string]int
	for _, tc := range []struct {
		name   string
		budget dbpool.Budget
		shares []dbpool.Share
		want   sizes
	}{
		{"evenly", budget, []dbpool.Share{{Name: "a"}, {Name: "b"}}, sizes{"a": 50, "b": 50}},
		{"by weight", budget, []dbpool.Share{{Name: "a", Weight: 3}, {Name: "b"}}, sizes{"a": 75, "b": 25}},
		{"by largest remainder", budget, []dbpool.Share{{Name: "a"}, {Name: "b"}, {Name: "c", Weight: 0.26}}, sizes{"a": 44, "b": 44, "c": 12}},
		{"the first of equals", budget, []dbpool.Share{{Name: "c"}, {Name: "a"}, {Name: "b"}}, sizes{"c": 34, "a": 33, "b": 33}},
		{"a minimum", budget, []dbpool.Share{{Name: "a", Weight: 99}, {Name: "b", Min: 10}}, sizes{"a": 90, "b": 10}},
		{"a maximum", budget, []dbpool.Share{{Name: "a", Max: 20}, {Name: "b"}, {Name: "c"}}, sizes{"a": 20, "b": 40, "c": 40}},
		{"weights of any scale", budget, []dbpool.Share{{Name: "a", Weight: 3e99}, {Name: "b", Weight: 1e99}, {Name: "c", Weight: 5e-324}}, sizes{"a": 74, "b": 25, "c": 1}},
		{"only maxima", budget, []dbpool.Share{{Name: "a", Max: 20}, {Name: "b", Max: 30}}, sizes{"a": 20, "b": 30}},
		{"both", budget, []dbpool.Share{{Name: "a", Max: 20}, {Name: "b", Weight: 8}, {Name: "c", Min: 30}}, sizes{"a": 8, "b": 62, "c": 30}},
		{"a minimum that a maximum pays for", budget, []dbpool.Share{
			{Name: "a", Weight: 10, Max: 40}, {Name: "b", Min: 25}, {Name: "c"},
		}, sizes{"a": 40, "b": 30, "c": 30}},
		{"a maximum that a minimum makes room for", budget, []dbpool.Share{
			{Name: "a", Weight: 5, Max: 45}, {Name: "b", Min: 40}, {Name: "c", Weight: 4},
		}, sizes{"a": 33, "b": 40, "c": 27}},
		{"dials of each pool", dbpool.Budget{MaxConnections: 100}, []dbpool.Share{{Name: "a"}, {Name: "b"}}, sizes{"a": 46, "b": 46}},
		{"checked", budget, []dbpool.Share{{Name: "a", Min: 50, Max: 50}, {Name: "b", Min: 50, Max: 50}}, sizes{"a": 50, "b": 50}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.budget.Split(tc.shares...)
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

// Whatever cannot be had is an error that says of what, and never another number.
func TestBudgetErrors(t *testing.T) {
	good := dbpool.Budget{MaxConnections: 100}
	with := func(change func(*dbpool.Budget)) dbpool.Budget {
		b := good
		change(&b)
		return b
	}
	one := []dbpool.Share{{Name: "a"}}
	for _, tc := range []struct {
		name   string
		budget dbpool.Budget
		shares []dbpool.Share
		field  string
		says   string
	}{
		{"no connections", dbpool.Budget{}, one, "MaxConnections", "0: must be from 1"},
		{"too many", with(func(b *dbpool.Budget) { b.MaxConnections = math.MaxInt }), one, "MaxConnections", ""},
		{"reserved", with(func(b *dbpool.Budget) { b.Reserved = -1 }), one, "Reserved", "-1"},
		{"replicas", with(func(b *dbpool.Budget) { b.Replicas = -1 }), one, "Replicas", "-1"},
		{"surge", with(func(b *dbpool.Budget) { b.Surge = -0.1 }), one, "Surge", "-0.1"},
		{"surge NaN", with(func(b *dbpool.Budget) { b.Surge = math.NaN() }), one, "Surge", "NaN"},
		{"surge infinite", with(func(b *dbpool.Budget) { b.Surge = math.Inf(1) }), one, "Surge", "Inf"},
		{"parallel", with(func(b *dbpool.Budget) { b.Parallel = math.MaxInt }), one, "Parallel", ""},
		{"no shares", good, nil, "shares", "empty"},
		{"no name", good, []dbpool.Share{{}}, "Name", `"": a share must have one`},
		{"two names", good, []dbpool.Share{{Name: "a"}, {Name: "b"}, {Name: "a"}}, "Name", `"a": two shares have it`},
		{"weight", good, []dbpool.Share{{Name: "a", Weight: -1}}, "Weight of a", "-1"},
		{"weight NaN", good, []dbpool.Share{{Name: "a", Weight: math.NaN()}}, "Weight of a", "NaN"},
		{"weight infinite", good, []dbpool.Share{{Name: "a", Weight: math.Inf(1)}}, "Weight of a", "Inf"},
		{"min", good, []dbpool.Share{{Name: "a", Min: -1}}, "Min of a", "-1"},
		{"max", good, []dbpool.Share{{Name: "a", Max: -1}}, "Max of a", "-1"},
		{"max below min", good, []dbpool.Share{{Name: "a", Min: 5, Max: 4}}, "Max of a", "4: must be from Min, which is 5"},
		{
			"too little", good,
			[]dbpool.Share{{Name: "api", Min: 60}, {Name: "agents", Min: 40}, {Name: "internal"}},
			"MaxConnections", "leaves 88 connections where 101 are needed: api gets 60 of its Min 60, agents gets 28 of its Min 40, internal gets 0 of its Min 1",
		},
		{"nothing", dbpool.Budget{MaxConnections: 10, Reserved: 20}, one, "MaxConnections", "a gets 0 of its Min 1"},
		{"all for dials", dbpool.Budget{MaxConnections: 50, Replicas: 13}, one, "MaxConnections", "leaves -1 connections"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sizes, err := tc.budget.Split(tc.shares...)
			require.Nil(t, sizes)
			var fieldErr *dbpool.FieldError
			require.ErrorAs(t, err, &fieldErr)
			require.Equal(t, tc.field, fieldErr.Field)
			require.ErrorContains(t, err, tc.says)
			if len(tc.shares) == 1 && tc.shares[0] == one[0] {
				n, err := tc.budget.PerProcess()
				require.Zero(t, n)
				require.Error(t, err)
			}
		})
	}
}

// The sum over all processes, with every dial, is never above the limit; each pool
// is within its limits; and nothing that a pool could use is left over.
func FuzzSplit(f *testing.F) {
	f.Add(50, 6, 4, 0.25, 4, 1.0, 0, 0, 2.0, 3, 10, 0.5, 1, 0)
	f.Add(100, 0, 1, 0.0, -1, 1e-9, 1, 0, 1e9, 0, 40, 3.0, 0, 7)
	f.Add(262143, 3, 100, 1.0, 1, 1.0, 0, 0, 1.0, 0, 0, 1.0, 0, 0)
	f.Add(math.MaxInt, math.MinInt, math.MaxInt, math.Inf(1), math.MinInt, math.NaN(), -1, -1, 0.0, 5, 4, 1e308, math.MaxInt, math.MaxInt)
	f.Fuzz(func(t *testing.T, limit, reserved, replicas int, surge float64, parallel int,
		w1 float64, min1, max1 int, w2 float64, min2, max2 int, w3 float64, min3, max3 int,
	) {
		b := dbpool.Budget{MaxConnections: limit, Reserved: reserved, Replicas: replicas, Surge: surge, Parallel: parallel}
		shares := []dbpool.Share{{"1", w1, min1, max1}, {"2", w2, min2, max2}, {"3", w3, min3, max3}}
		sizes, err := b.Split(shares...)
		if err != nil {
			var fieldErr *dbpool.FieldError
			require.ErrorAs(t, err, &fieldErr)
			return
		}
		dials := max(0, parallel)
		if parallel == 0 {
			dials = 4
		}
		processes := max(1, replicas)
		processes += int(math.Ceil(float64(processes) * surge * (1 - 1e-12)))
		sum, room := 0, false
		for _, s := range shares {
			n := sizes[s.Name]
			sum += n + dials
			room = room || s.Max == 0 || n < s.Max
			if n < max(1, s.Min) || s.Max > 0 && n > s.Max {
				t.Fatalf("%+v got %d", s, n)
			}
		}
		if all := limit - reserved; sum*processes > all || room && (sum+1)*processes <= all {
			t.Fatalf("%d processes with %d each, of %d: %v", processes, sum, all, sizes)
		}
	})
}

func TestPerTenant(t *testing.T) {
	for _, tc := range []struct {
		limit, reserved, tenants int
		per                      float64
		thrash                   bool
	}{
		{50, 0, 20, 2.5, false},
		{20, 0, 15, 20. / 15, true},
		{49, 0, 20, 2.45, true},
		{53, 3, 20, 2.5, false},
		{50, 0, 0, math.Inf(1), false},
	} {
		per, thrash := dbpool.Budget{MaxConnections: tc.limit, Reserved: tc.reserved}.PerTenant(tc.tenants)
		require.Equal(t, tc.per, per)
		require.Equal(t, tc.thrash, thrash, "%+v", tc)
	}
	for _, none := range []int{0, -1, math.MinInt} {
		per, thrash := dbpool.Budget{MaxConnections: 1}.PerTenant(none)
		require.True(t, math.IsInf(per, 1))
		require.False(t, thrash)
	}
}

func TestForLoad(t *testing.T) {
	require.Equal(t, 2, dbpool.ForLoad(100, 20*time.Millisecond, 0))
	require.Equal(t, 3, dbpool.ForLoad(100, 20*time.Millisecond, 0.3))
	require.Equal(t, 7, dbpool.ForLoad(100, 70*time.Millisecond, 0), "which is 7.000000000000001 in floating point")
	require.Equal(t, 26, dbpool.ForLoad(1000, 20*time.Millisecond, 0.3))
	require.Equal(t, 1, dbpool.ForLoad(0, 0, 0))
	require.Equal(t, math.MaxInt32, dbpool.ForLoad(math.MaxFloat64, time.Hour, 1e300))
	for _, none := range []float64{-1, math.NaN(), math.Inf(-1)} {
		require.Equal(t, 1, dbpool.ForLoad(none, time.Second, 0))
		require.Equal(t, 10, dbpool.ForLoad(10, time.Second, none))
	}
	require.Equal(t, 1, dbpool.ForLoad(10, -time.Second, 0))
	require.Equal(t, 1, dbpool.ForLoad(math.Inf(1), 0, 0))
	require.Equal(t, 1, dbpool.ForLoad(0, 0, math.Inf(1)))
	require.Equal(t, math.MaxInt32, dbpool.ForLoad(math.Inf(1), 1, 0))
}

func FuzzForLoad(f *testing.F) {
	f.Add(100.0, int64(20*time.Millisecond), 0.3)
	f.Add(1e300, int64(math.MaxInt64), 1e300)
	f.Add(0.0, int64(0), 0.0)
	f.Add(math.NaN(), int64(-1), math.Inf(-1))
	f.Fuzz(func(t *testing.T, rate float64, mean int64, headroom float64) {
		n := dbpool.ForLoad(rate, time.Duration(mean), headroom)
		busy := max(rate, 0) * max(time.Duration(mean).Seconds(), 0)
		if n < 1 || n > math.MaxInt32 || n < math.MaxInt32 && float64(n) < busy*(1-1e-9)-1e-6 {
			t.Fatalf("%d for %v connections in use", n, busy)
		}
	})
}

func TestServerBudget(t *testing.T) {
	srv := &dbpooltest.Server{MaxConns: 50}
	base := &closer{Connector: srv.Connector()}
	got, err := dbpool.ServerBudget(t.Context(), base)
	require.NoError(t, err)
	require.Equal(t, dbpool.Budget{MaxConnections: 50}, got)
	require.Zero(t, srv.Stats().Open, "one connection, closed again")
	require.EqualValues(t, 1, srv.Stats().Opened)
	require.Zero(t, base.closed, "the connector is still to be used")
}

func TestServerBudgetOfServers(t *testing.T) {
	pg16 := answers{"max_connections": "100", "superuser_reserved_connections": "3", "reserved_connections": "2"}
	pg15 := answers{"max_connections": "100", "superuser_reserved_connections": "3"}
	for name, tc := range map[string]struct {
		server answers
		want   dbpool.Budget
	}{
		"PostgreSQL 16": {pg16, dbpool.Budget{MaxConnections: 100, Reserved: 5}},
		"PostgreSQL 15": {pg15, dbpool.Budget{MaxConnections: 100, Reserved: 3}},
		"MySQL":         {answers{"@@": "151"}, dbpool.Budget{MaxConnections: 151}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := dbpool.ServerBudget(t.Context(), tc.server)
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
	for name, server := range map[string]answers{
		"something else":   {},
		"no such setting":  {"something": "1"},
		"no number":        {"max_connections": "many"},
		"no number either": {"@@": "many"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dbpool.ServerBudget(t.Context(), server)
			require.ErrorContains(t, err, "neither like PostgreSQL")
		})
	}
	_, err := dbpool.ServerBudget(t.Context(), nil)
	require.ErrorContains(t, err, "base")
	srv := new(dbpooltest.Server)
	srv.Refuse(true)
	_, err = dbpool.ServerBudget(t.Context(), srv.Connector())
	require.Equal(t, "57P03", state(err))
}

// answers is a server that knows settings, either as PostgreSQL or, under "@@", as
// MySQL does.
type answers map[string]string

func (a answers) Connect(context.Context) (driver.Conn, error) { return answering{a}, nil }
func (a answers) Driver() driver.Driver                        { return nil }

type answering struct{ settings answers }

func (answering) Prepare(string) (driver.Stmt, error) { return nil, errReason }
func (answering) Begin() (driver.Tx, error)           { return nil, errReason }
func (answering) Close() error                        { return nil }

func (a answering) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	limit, mysql := a.settings["@@"]
	switch {
	case query == "select @@global.max_connections" && mysql:
		return &answer{[]string{""}, [][]driver.Value{{limit}}}, nil
	case mysql || len(a.settings) == 0 || query == "select @@global.max_connections":
		return nil, errors.New("syntax error")
	}
	rows := answer{columns: []string{"name", "setting"}}
	for name, setting := range a.settings {
		rows.values = append(rows.values, []driver.Value{name, setting})
	}
	return &rows, nil
}

type answer struct {
	columns []string
	values  [][]driver.Value
}

func (r *answer) Columns() []string { return r.columns }
func (r *answer) Close() error      { return nil }

func (r *answer) Next(dest []driver.Value) error {
	if len(r.values) == 0 {
		return io.EOF
	}
	copy(dest, r.values[0])
	r.values = r.values[1:]
	return nil
}

// Four services that share a server of 50 as in their budget meet no refusal, and
// those with pools of 25 each do.
func TestBudgetKeepsTheServerFromBeingFull(t *testing.T) {
	run := func(t *testing.T, size, parallel int) uint64 {
		srv := &dbpooltest.Server{MaxConns: 50}
		for range 4 {
			db, err := dbpool.Open(dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: parallel}), dbpool.Server(size))
			require.NoError(t, err)
			defer func(db *sql.DB) { require.NoError(t, db.Close()) }(db)
			_, _ = dbpool.Warm(t.Context(), db, size)
		}
		return srv.Stats().Full
	}
	size, err := dbpool.Budget{MaxConnections: 50, Replicas: 4, Parallel: 2}.PerProcess()
	require.NoError(t, err)
	require.Equal(t, 10, size)
	require.Zero(t, run(t, size, 2))
	require.Positive(t, run(t, 25, 2))
}
