package dbpool_test

import (
	"context"
	"database/sql"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// pools are a plain pool and one of ours, on a server that takes no time.
func pools(tb testing.TB) map[string]*sql.DB {
	tb.Helper()
	plain := sql.OpenDB(new(dbpooltest.Server).Connector())
	require.NoError(tb, dbpool.Server(4).Apply(plain))
	ours, err := dbpool.Open(new(dbpooltest.Server).Connector(), dbpool.Server(4))
	require.NoError(tb, err)
	tb.Cleanup(func() {
		require.NoError(tb, plain.Close())
		require.NoError(tb, ours.Close())
	})
	return map[string]*sql.DB{"plain": plain, "ours": ours}
}

// A query costs what it costs without us: the connector is not on its path.
func TestQueryAllocatesNothingMore(t *testing.T) {
	allocs := map[string]float64{}
	for name, db := range pools(t) {
		allocs[name] = testing.AllocsPerRun(1000, func() {
			if _, err := db.Exec("update"); err != nil {
				t.Fatal(err)
			}
		})
	}
	require.Equal(t, allocs["plain"], allocs["ours"])
}

func BenchmarkQuery(b *testing.B) {
	for name, db := range pools(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := db.Exec("update"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkConnect(b *testing.B) {
	var srv dbpooltest.Server
	c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
	defer c.Close()
	for name, connect := range map[string]connectFunc{"plain": srv.Connector().Connect, "ours": c.Connect} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				conn, err := connect(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				_ = conn.Close()
			}
		})
	}
}

// A dial costs one goroutine, and a pool that does not dial has none of ours, also
// with a spare and with a backoff that runs.
func TestGoroutines(t *testing.T) {
	ours := func() (n int) { // those of this bubble: other tests may leave theirs a moment later
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		self, all, _ := strings.Cut(string(stacks[:runtime.Stack(stacks, true)]), "\n\n")
		_, bubble, _ := strings.Cut(self, "synctest bubble ")
		bubble, _, _ = strings.Cut(bubble, "]")
		for stack := range strings.SplitSeq(all, "\n\n") {
			if strings.Contains(stack, "synctest bubble "+bubble+"]") &&
				strings.Contains(stack, "created by github.com/connhygiene/connhygiene/dbpool.(*Connector)") {
				n++
			}
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Second}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Backoff: exact})
		defer shut(t, c)
		for range 9 {
			connect(t, c, 500*time.Millisecond)
		}
		require.Equal(t, 4, ours())
		time.Sleep(2 * time.Second)
		require.Equal(t, 4, c.Stats().Spare)
		require.Zero(t, ours())
		for range 4 {
			require.NoError(t, connectNow(t, c, 0).err)
		}
		srv.Refuse(true)
		require.Error(t, connectNow(t, c, 0).err)
		connect(t, c, 0)
		synctest.Wait()
		require.Equal(t, 1, c.Stats().Waiting)
		require.Zero(t, ours())
	})
}

// idleConn is a connection that takes everything and always has a byte.
type idleConn struct{ net.Conn }

func (idleConn) Write(b []byte) (int, error) { return len(b), nil }
func (idleConn) Read([]byte) (int, error)    { return 1, nil }

// BenchmarkWatch is what a Dialer's watch adds to one request and its answer.
func BenchmarkWatch(b *testing.B) {
	dial := func(context.Context, string, string) (net.Conn, error) { return idleConn{}, nil }
	watched, err := dbpool.TCP{Dial: dial}.Dialer()(b.Context(), "tcp", "db")
	require.NoError(b, err)
	b.ReportAllocs()
	var buf [1]byte
	for b.Loop() {
		if _, err := watched.Write(buf[:]); err != nil {
			b.Fatal(err)
		}
		if _, err := watched.Read(buf[:]); err != nil {
			b.Fatal(err)
		}
	}
}
