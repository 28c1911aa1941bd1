package dbpool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// closer counts how often it is closed.
type closer struct {
	driver.Connector
	closed int
	err    error
}

func (c *closer) Close() error {
	c.closed++
	return c.err
}

// Close in the middle of everything: callers at the gate, dials that hang, spares.
func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		base := &closer{Connector: srv.Connector(), err: errReason}
		c := dbpool.NewConnector(base, dbpool.Dial{Parallel: 2})
		connect(t, c, 60*time.Millisecond)
		time.Sleep(time.Second)
		require.Equal(t, 1, c.Stats().Spare)
		kept := connectNow(t, c, 0)
		connect(t, c, 60*time.Millisecond)
		time.Sleep(time.Second)
		require.Equal(t, 1, c.Stats().Spare)

		srv.Hang(true)
		connectNow(t, c, 0) // takes the spare
		connect(t, c, 60*time.Millisecond)
		connect(t, c, 60*time.Millisecond)
		time.Sleep(time.Second)
		require.Equal(t, 2, c.Stats().Dialing, "both abandoned")
		waiting := connect(t, c, 0)
		synctest.Wait()
		require.Equal(t, 1, c.Stats().Waiting)

		require.Equal(t, errReason, c.Close(), "that of the connector below")
		require.ErrorIs(t, (<-waiting).err, net.ErrClosed)
		stats := c.Stats()
		require.Zero(t, stats.Dialing+stats.Waiting+stats.Spare)
		require.Equal(t, 1, base.closed)
		require.NoError(t, c.Close())
		require.Equal(t, 1, base.closed)
		_, err := c.Connect(t.Context())
		require.ErrorIs(t, err, net.ErrClosed)
		require.Equal(t, 2, srv.Stats().Open, "what was delivered is the pool's")
		require.NoError(t, kept.conn.Close())
	})
}

func TestCloseClosesSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{})
		connect(t, c, 60*time.Millisecond)
		time.Sleep(time.Second)
		require.NoError(t, c.Close())
		require.Zero(t, srv.Stats().Open)
		require.EqualValues(t, 1, c.Stats().Expired)
	})
}

// Nothing is under way after Close, however slowly a driver ends.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := false
		c := dbpool.NewConnector(connectFunc(func(ctx context.Context) (driver.Conn, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			returned = true
			return nil, ctx.Err()
		}), dbpool.Dial{})
		connect(t, c, time.Millisecond)
		time.Sleep(2 * time.Millisecond)
		require.NoError(t, c.Close())
		require.True(t, returned)
	})
}

// What a dial yields after Close is closed at once.
func TestCloseOfAConnectionThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Second}
		c := dbpool.NewConnector(deaf(srv.Connector()), dbpool.Dial{})
		connect(t, c, time.Second)
		time.Sleep(2 * time.Second)
		from := time.Now()
		require.NoError(t, c.Close())
		require.Equal(t, 8*time.Second, time.Since(from))
		require.EqualValues(t, 1, srv.Stats().Opened)
		require.Zero(t, srv.Stats().Open)
	})
}

// slow is a connection that takes its time to close.
type slow struct{ driver.Conn }

func (s slow) Close() error {
	time.Sleep(time.Second)
	return s.Conn.Close()
}

// A spare that is being closed is still a connection: it holds its slot, and Close
// waits for it.
func TestSpareHoldsItsSlotUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 100 * time.Millisecond}
		c := dbpool.NewConnector(connectFunc(func(ctx context.Context) (driver.Conn, error) {
			conn, err := srv.Connector().Connect(ctx)
			return slow{conn}, err
		}), dbpool.Dial{Parallel: 1})
		connect(t, c, 60*time.Millisecond)
		time.Sleep(100*time.Millisecond + 30*time.Second + 300*time.Millisecond)
		got := connectNow(t, c, 0)
		require.NoError(t, got.err)
		require.Equal(t, 800*time.Millisecond, got.took, "the rest of the close, and a dial")
		require.Equal(t, 1, srv.Stats().PeakOpen)

		connect(t, c, 60*time.Millisecond)
		time.Sleep(100*time.Millisecond + 30*time.Second + 300*time.Millisecond)
		require.NoError(t, c.Close())
		require.Equal(t, 1, srv.Stats().Open, "the one that was delivered")
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{0: 15 * time.Second, 5 * time.Second: 5 * time.Second, -1: 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			srv := &dbpooltest.Server{ConnectTime: time.Hour}
			c := dbpool.NewConnector(deaf(srv.Connector()), dbpool.Dial{Timeout: timeout})
			connect(t, c, time.Second)
			time.Sleep(time.Second)
			from := time.Now()
			require.NoError(t, c.Close())
			require.Equal(t, want, time.Since(from))
			require.Equal(t, 1, c.Stats().Dialing, "left behind, and counted")
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Zero(t, c.Stats().Dialing)
			require.Zero(t, srv.Stats().Open)
		})
	}
}

func TestClosingThePoolClosesTheConnector(t *testing.T) {
	var srv dbpooltest.Server
	base := &closer{Connector: srv.Connector(), err: errReason}
	db, err := dbpool.Open(base, dbpool.Server(3))
	require.NoError(t, err)
	require.NoError(t, db.Ping())
	require.Equal(t, errReason, db.Close())
	require.Equal(t, 1, base.closed)
	require.Zero(t, srv.Stats().Open)
}

func TestOpen(t *testing.T) {
	var srv dbpooltest.Server
	base := record(srv.Connector())
	db, err := dbpool.Open(base, dbpool.Server(7))
	require.NoError(t, err)
	defer db.Close()
	require.Equal(t, 7, db.Stats().MaxOpenConnections)
	require.Empty(t, base.dials(), "Open does not dial")
	require.Equal(t, srv.Connector().Driver(), db.Driver())
}

func TestOpenRefuses(t *testing.T) {
	var fieldErr *dbpool.FieldError
	for _, none := range []driver.Connector{nil, (*dbpool.Connector)(nil)} {
		_, err := dbpool.Open(none, dbpool.Server(1))
		require.ErrorAs(t, err, &fieldErr)
		require.Equal(t, "connector", fieldErr.Field)
	}

	base := &closer{Connector: new(dbpooltest.Server).Connector()}
	_, err := dbpool.Open(base, dbpool.Server(0))
	require.ErrorAs(t, err, &fieldErr)
	require.Equal(t, "MaxOpen", fieldErr.Field)
	require.Zero(t, base.closed)
}

// around is what a package for traces puts around a connector.
type around struct{ driver.Connector }

func (a around) Unwrap() driver.Connector { return a.Connector }

// Open adds a Connector to a bare one, and only to that.
func TestOpenAddsOneConnector(t *testing.T) {
	for name, tc := range map[string]struct {
		wrap func(*dbpool.Connector) driver.Connector
		peak int
	}{
		"a Connector":        {func(c *dbpool.Connector) driver.Connector { return c }, 9},
		"one inside another": {func(c *dbpool.Connector) driver.Connector { return around{around{c}} }, 9},
		"a bare one":         {func(c *dbpool.Connector) driver.Connector { return c.Unwrap() }, 4},
		"a bare one inside":  {func(c *dbpool.Connector) driver.Connector { return around{c.Unwrap()} }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &dbpooltest.Server{ConnectTime: time.Second}
				db, err := dbpool.Open(tc.wrap(dbpool.NewConnector(srv.Connector(), dbpool.Dial{Parallel: 9})), dbpool.Server(20))
				require.NoError(t, err)
				for range 20 {
					go db.Ping()
				}
				time.Sleep(20 * time.Second)
				require.Equal(t, tc.peak, srv.Stats().PeakDialing)
				require.NoError(t, db.Close())
			})
		})
	}
}

// The driver's own connection is what a pool hands out; pgx documents how to use it.
func TestRawYieldsTheDriversConnection(t *testing.T) {
	var srv dbpooltest.Server
	bare, err := srv.Connector().Connect(t.Context())
	require.NoError(t, err)
	defer bare.Close()
	db, err := dbpool.Open(srv.Connector(), dbpool.Server(1))
	require.NoError(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Raw(func(dc any) error {
		require.IsType(t, bare, dc)
		return nil
	}))
}

func TestApplyToAClosedPool(t *testing.T) {
	db := sql.OpenDB(new(dbpooltest.Server).Connector())
	require.NoError(t, dbpool.Server(8).Apply(db))
	require.NoError(t, db.Close())
	require.EqualError(t, dbpool.Server(8).Apply(db), "dbpool: sql: database is closed")
}
