package dbpool_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

var errReason = errors.New("the reason")

const seconds = time.Second

// While the server refuses, one dial at a time reaches it, on schedule, whatever
// number of callers there is.
func TestOneProbeWhileTheServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		srv.Refuse(true)
		base := record(srv.Connector())
		c := dbpool.NewConnector(base, dbpool.Dial{Backoff: exact})
		defer shut(t, c)
		require.Error(t, connectNow(t, c, 0).err)
		stop := time.Now().Add(40 * time.Second)
		ended := make(chan struct{})
		for range 50 {
			go func() {
				for time.Now().Before(stop) {
					_ = connectNow(t, c, 700*time.Millisecond)
				}
				ended <- struct{}{}
			}()
		}
		for range 50 {
			<-ended
		}
		require.Equal(t, []time.Duration{
			0, 1 * seconds, 3 * seconds, 7 * seconds, 15 * seconds, 23 * seconds, 31 * seconds, 39 * seconds,
		}, base.dials())
		require.EqualValues(t, 8, c.Stats().Failed)
		require.EqualValues(t, 8, c.Stats().Overloaded)
		require.Equal(t, 1, srv.Stats().PeakDialing+c.Stats().MaxDialing, "a refused dial is not counted by the server")
	})
}

// Dials that were under way together fail together: that is one failure.
func TestFailuresTogetherAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond}
		base := record(srv.Connector())
		c := dbpool.NewConnector(base, dbpool.Dial{Backoff: exact})
		defer shut(t, c)
		var calls []<-chan call
		for range 6 {
			calls = append(calls, connect(t, c, 0))
		}
		synctest.Wait()
		srv.Refuse(true)
		for _, done := range calls {
			require.Equal(t, "57P03", state((<-done).err))
		}
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 0, 0, 0, 1*seconds + 10*ms, 3*seconds + 10*ms}, base.dials())
		require.EqualValues(t, 6, c.Stats().Failed)
	})
}

// A probe that takes its time is still the only one.
func TestOneProbeWhileTheServerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		srv.Refuse(true)
		base := record(srv.Connector())
		c := dbpool.NewConnector(base, dbpool.Dial{Backoff: exact, Timeout: 5 * time.Second})
		defer shut(t, c)
		require.Equal(t, "57P03", state(connectNow(t, c, 0).err))
		srv.Refuse(false)
		srv.Hang(true)
		for range 20 {
			connect(t, c, 0)
			time.Sleep(time.Second)
		}
		// Probes last for 5s each, and are followed by 2s, 4s and 8s.
		require.Equal(t, []time.Duration{0, 1 * seconds, 8 * seconds, 17 * seconds}, base.dials())
		require.Equal(t, 1, c.Stats().MaxDialing)
		time.Sleep(time.Minute)
	})
}

func TestNoWaitBeforeTheFirstFailureOrAfterASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Backoff: exact})
		defer shut(t, c)
		fail := func(want time.Duration) {
			t.Helper()
			srv.Refuse(true)
			got := connectNow(t, c, 0)
			srv.Refuse(false)
			require.Equal(t, "57P03", state(got.err), "%v", got.err)
			require.Equal(t, want, got.took)
		}
		succeed := func(want time.Duration) {
			t.Helper()
			got := connectNow(t, c, 0)
			require.NoError(t, got.err)
			require.Equal(t, want, got.took)
		}
		succeed(0)
		fail(0)
		succeed(1 * seconds)
		succeed(0)
		fail(0)
		fail(1 * seconds)
		fail(2 * seconds)
		succeed(4 * seconds)
		fail(0)
		succeed(1 * seconds) // forgotten at the first success
	})
}

// The time since the last failure counts: who comes later does not wait again.
func TestBackoffRunsFromTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Backoff: exact})
		defer shut(t, c)
		srv.Refuse(true)
		require.Error(t, connectNow(t, c, 0).err)
		srv.Refuse(false)
		time.Sleep(700 * time.Millisecond)
		require.Equal(t, 300*time.Millisecond, connectNow(t, c, 0).took)
	})
}

// The first success lets everybody go who has waited, through the gate.
func TestFirstSuccessOpensTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 10 * time.Millisecond}
		base := record(srv.Connector())
		c := dbpool.NewConnector(base, dbpool.Dial{Backoff: exact})
		defer shut(t, c)
		srv.Refuse(true)
		require.Error(t, connectNow(t, c, 0).err)
		var calls []<-chan call
		for range 9 {
			calls = append(calls, connect(t, c, 0))
		}
		synctest.Wait()
		require.Equal(t, 9, c.Stats().Waiting)
		require.Zero(t, c.Stats().Dialing, "nobody waits for the backoff inside the gate")
		srv.Refuse(false)
		for _, done := range calls {
			require.NoError(t, (<-done).err)
		}
		ms := time.Millisecond
		first := 1*seconds + 10*ms
		require.Equal(t, []time.Duration{
			0, 1 * seconds,
			first, first, first, first,
			first + 10*ms, first + 10*ms, first + 10*ms, first + 10*ms,
		}, base.dials())
	})
}

func TestWaiterGetsBothErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		srv.Refuse(true)
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Backoff: exact, Timeout: 500 * time.Millisecond})
		defer shut(t, c)
		require.Error(t, connectNow(t, c, 0).err)

		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errReason)
		defer cancel()
		_, err := c.Connect(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errReason)
		require.Equal(t, "57P03", state(err), "%v", err)

		got := connectNow(t, c, 0)
		require.Equal(t, 500*time.Millisecond, got.took)
		require.ErrorIs(t, got.err, context.DeadlineExceeded)
		require.Equal(t, "57P03", state(got.err), "%v", got.err)
		require.ErrorContains(t, got.err, "Dial.Timeout")
	})
}

// database/sql repeats what fails with ErrBadConn, twice: who has waited for the
// whole Timeout must not be made to wait for two more.
func TestWaitersErrorIsNotBadConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := connectFunc(func(context.Context) (driver.Conn, error) { return nil, driver.ErrBadConn })
		c := dbpool.NewConnector(bad, dbpool.Dial{Backoff: exact, Timeout: 500 * time.Millisecond})
		defer shut(t, c)
		require.ErrorIs(t, connectNow(t, c, 0).err, driver.ErrBadConn)
		got := connectNow(t, c, 0)
		require.NotErrorIs(t, got.err, driver.ErrBadConn)
		require.ErrorContains(t, got.err, "bad connection")
	})
}

// An abandoned dial that fails fails no caller, as long as those that are in
// line have dials to rely on.
func TestFailureOfAnAbandonedDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: 3 * time.Second}
		c := dbpool.NewConnector(srv.Connector(), dbpool.Dial{Timeout: 5 * time.Second})
		srv.Hang(true)
		require.Error(t, connectNow(t, c, time.Second).err)
		srv.Hang(false)
		time.Sleep(2 * time.Second)
		got := connectNow(t, c, 0) // the other dial fails meanwhile
		require.NoError(t, got.err)
		require.Equal(t, 3*time.Second, got.took)
		require.EqualValues(t, 1, c.Stats().Failed)
		shut(t, c)
	})
}

// A driver that ignores its context: callers leave in time, the gate keeps the slot
// until the driver returns, and what it brings then is used.
func TestDriverThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{ConnectTime: time.Minute}
		c := dbpool.NewConnector(deaf(srv.Connector()), dbpool.Dial{Parallel: 1, Timeout: 10 * time.Second})
		defer shut(t, c)
		got := connectNow(t, c, 0)
		require.ErrorIs(t, got.err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, got.took)
		synctest.Wait()
		require.EqualValues(t, 1, c.Stats().Failed)
		require.Equal(t, 1, c.Stats().Dialing)
		got = connectNow(t, c, 0)
		require.ErrorIs(t, got.err, context.DeadlineExceeded)
		require.Equal(t, 1, srv.Stats().PeakDialing, "the slot is still held")

		time.Sleep(35 * time.Second)
		got = connectNow(t, c, 0)
		require.NoError(t, got.err)
		require.Equal(t, 5*time.Second, got.took)
		require.EqualValues(t, 1, c.Stats().Opened)
		require.EqualValues(t, 1, c.Stats().Failed)
	})
}

// Such a dial as the probe must not be the last one.
func TestProbeThatIgnoresItsContextIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var srv dbpooltest.Server
		forever := make(chan struct{})
		var dials atomic.Int64
		c := dbpool.NewConnector(connectFunc(func(ctx context.Context) (driver.Conn, error) {
			switch dials.Add(1) {
			case 1:
				return nil, errReason
			case 2:
				<-forever
				return nil, errReason
			}
			return srv.Connector().Connect(ctx)
		}), dbpool.Dial{Backoff: exact, Timeout: 10 * time.Second})
		defer shut(t, c)
		defer synctest.Wait()
		defer close(forever)
		require.Equal(t, errReason, connectNow(t, c, 0).err, "the driver's error as it is")
		require.ErrorIs(t, connectNow(t, c, 0).err, context.DeadlineExceeded)
		got := connectNow(t, c, 0)
		require.NoError(t, got.err)
		require.Equal(t, 1, c.Stats().Dialing)
	})
}

func TestOverload(t *testing.T) {
	mysql := errors.New("Error 1040 (08004): Too many connections")
	oldMySQL := errors.New("Error 1040: Too many connections")
	for _, tc := range []struct {
		err  error
		want uint64
	}{
		{&pgError{"53300"}, 1},
		{&pgError{"57P03"}, 1},
		{errors.Join(errReason, &pgError{"53300"}), 1},
		{&pgError{"28P01"}, 0},
		{errors.Join(&pgError{"28P01"}, &pgError{"53300"}), 1}, // two servers in one data source name
		{mysql, 1},
		{oldMySQL, 1},
		{errors.New("Error 10401: something else"), 0},
		{errReason, 0},
	} {
		require.Equal(t, tc.want, overloaded(t, tc.err, nil), "%v", tc.err)
	}
	own := func(err error) bool { return errors.Is(err, errReason) }
	require.EqualValues(t, 1, overloaded(t, errReason, own))
	require.EqualValues(t, 0, overloaded(t, &pgError{"53300"}, own))
}

type pgError struct{ code string }

func (e *pgError) Error() string    { return e.code }
func (e *pgError) SQLState() string { return e.code }

func overloaded(t *testing.T, dialErr error, f func(error) bool) uint64 {
	t.Helper()
	c := dbpool.NewConnector(connectFunc(func(context.Context) (driver.Conn, error) { return nil, dialErr }), dbpool.Dial{Overload: f})
	require.Equal(t, dialErr, connectNow(t, c, 0).err)
	require.NoError(t, c.Close())
	require.EqualValues(t, 1, c.Stats().Failed)
	return c.Stats().Overloaded
}

// What a driver can do wrong is an error of Connect, and costs no slot.
func TestMisbehavingDriver(t *testing.T) {
	for name, connect := range map[string]connectFunc{
		"panics":                func(context.Context) (driver.Conn, error) { panic("no luck") },
		"ends the goroutine":    func(context.Context) (driver.Conn, error) { runtime.Goexit(); return nil, nil },
		"returns nothing":       func(context.Context) (driver.Conn, error) { return nil, nil },
		"returns a nil error":   func(context.Context) (driver.Conn, error) { return nil, (*pgError)(nil) }, // Overload's call panics
		"panics with a nothing": func(context.Context) (driver.Conn, error) { panic(error(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := dbpool.NewConnector(connect, dbpool.Dial{Parallel: 1, Backoff: backoff.Policy{Min: 1, Max: 1}})
			for range 3 {
				require.ErrorContains(t, connectNow(t, c, 0).err, "dbpool: ")
			}
			require.NoError(t, c.Close())
			require.EqualValues(t, 3, c.Stats().Failed)
		})
	}
}

func TestNewConnectorNil(t *testing.T) {
	require.PanicsWithValue(t, "dbpool: NewConnector with nil base", func() { dbpool.NewConnector(nil, dbpool.Dial{}) })
}
