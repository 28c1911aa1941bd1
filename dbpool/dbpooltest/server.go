// Package dbpooltest is a database server that exists in memory only: it takes
// its time, is full, refuses, hangs and dies on demand, and counts. It tests what
// a pool of database/sql does to a server.
//
//	srv := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, MaxConns: 50}
//	db := sql.OpenDB(srv.Connector())
//
// It has no goroutine and knows no clock but package time, so that it works the
// same inside a testing/synctest bubble.
//
// # What it answers
//
// Every query returns one row with one column that holds the number 1, and every
// statement has affected one row. The exception is a query that names
// pg_settings, which returns the server's limits as PostgreSQL does: rows of name
// and setting for max_connections (MaxConns, or 262143, which is PostgreSQL's
// upper bound, for an unlimited server) and superuser_reserved_connections (0).
//
// # What happens when a context ends
//
// A server never sees a client's context, only what the driver does about it. The
// fixture does what PostgreSQL does together with pgx or lib/pq:
//
//   - Before a query is sent: the context's error, and the connection stays good.
//   - During a query: the caller gets the context's error at once, and the
//     connection is lost, since its protocol stands in the middle of an answer. A
//     driver asks for the query to be canceled, over a connection of its own, so the
//     place is free as soon as the pool has closed the lost connection. Deadlines
//     of queries therefore cost connections. See [Server.NoCancel] for servers
//     that execute an abandoned query to its end.
//   - During a dial: the caller gets the context's error at once, while the server
//     goes on with the login until ConnectTime is over: it looks at the socket
//     only when it wants something from it. The place is held until then.
package dbpooltest

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Server is a fake database server. Its zero value is instant and unlimited. All
// methods may be called at any time, by any goroutine; the fields must not change
// once there is a [Server.Connector]. A Server must not be copied.
type Server struct {
	// ConnectTime is how long a login takes. Zero or less: no time at all.
	ConnectTime time.Duration

	// QueryTime is how long a query takes. Zero or less: no time at all.
	QueryTime time.Duration

	// MaxConns is how many places there are; a dial in progress holds one, as it
	// does in PostgreSQL. A dial that finds none fails at once with SQLSTATE 53300.
	// Zero or less: no limit.
	MaxConns int

	// NoCancel means that the server hears no cancel request: an abandoned query is
	// executed to its end and holds its place until then. So it is with MySQL, and
	// with PostgreSQL when the client's machine has died.
	NoCancel bool

	mu        sync.Mutex // guards the fields below
	refuse    bool
	hang      bool
	starting  int // places of dials whose client waits
	conns     map[*conn]struct{}
	lingering []time.Time // ends of the work that is done for clients who have left
	stats     Stats
}

// Stats is what a [Server] has counted.
type Stats struct {
	Opened  uint64 // Opened counts connections established.
	Closed  uint64 // Closed counts connections that ended, by their client or by Kill.
	Refused uint64 // Refused counts dials that failed because of Refuse.
	Full    uint64 // Full counts dials that failed because of MaxConns.
	Queries uint64 // Queries counts queries and statements begun.

	Open        int // Open is the number of connections that are established now.
	PeakOpen    int // PeakOpen is the largest Open so far.
	Dialing     int // Dialing is the number of dials in progress whose client waits for them.
	PeakDialing int // PeakDialing is the largest Dialing so far.
	Lingering   int // Lingering is the number of places held for clients who have left.
}

// Connector returns what opens connections to s, for [database/sql.OpenDB]. All
// connectors of a server are the same. Errors that come from the server have a
// method SQLState: 53300 when it is full, 57P03 when it refuses, 57P01 for a
// query that Kill interrupts.
//
// The Driver of a connector ignores the name it is given; it may be registered
// with [database/sql.Register] by tests that open pools by name.
func (s *Server) Connector() driver.Connector { return connector{s} }

// Refuse sets whether dials fail, at once and with SQLSTATE 57P03, as they do
// while PostgreSQL starts or shuts down. Dials in progress fail at their end. It
// does nothing to connections that are open; a restart is Refuse and [Server.Kill].
func (s *Server) Refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = on
}

// Hang sets whether new dials hang until their context ends, as they do when
// packets are lost. A dial that hangs is not released by Hang(false), and holds no
// place. A server that refuses does so at once, even if it hangs.
func (s *Server) Hang(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = on
}

// Kill ends every open connection, as a server's death does. Its client learns it
// at the next use, which fails with [driver.ErrBadConn]; a query in progress fails
// at once with SQLSTATE 57P01.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		close(c.dead)
		s.endLocked(c)
	}
	s.lingering = nil
}

// Stats returns the counters so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked()
	stats := s.stats
	stats.Lingering = len(s.lingering)
	return stats
}

// connect is one dial.
func (s *Server) connect(ctx context.Context) (driver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dbpooltest: dial: %w", err)
	}
	hang, err := s.begin()
	if err != nil {
		return nil, err
	}
	done := time.Now().Add(s.ConnectTime)
	if hang {
		<-ctx.Done()
		err = ctx.Err()
	} else {
		err = work(ctx, s.ConnectTime, nil)
	}
	return s.established(hang, done, err)
}

// begin admits a dial and reports whether it will hang.
func (s *Server) begin() (hang bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked()
	switch {
	case s.refuse:
		s.stats.Refused++
		return false, errRefused
	case s.hang:
	case s.MaxConns > 0 && s.stats.Open+s.starting+len(s.lingering) >= s.MaxConns:
		s.stats.Full++
		return false, errFull
	default:
		s.starting++
	}
	s.stats.Dialing++
	s.stats.PeakDialing = max(s.stats.PeakDialing, s.stats.Dialing)
	return s.hang, nil
}

// established ends a dial that would have been through at done.
func (s *Server) established(hung bool, done time.Time, err error) (driver.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Dialing--
	if !hung {
		s.starting--
	}
	switch {
	case err != nil && !hung:
		s.lingering = append(s.lingering, done)
		fallthrough
	case err != nil:
		return nil, fmt.Errorf("dbpooltest: dial: %w", err)
	case s.refuse:
		s.stats.Refused++
		return nil, errRefused
	}
	c := &conn{server: s, dead: make(chan struct{})}
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
	}
	s.conns[c] = struct{}{}
	s.stats.Opened++
	s.stats.Open++
	s.stats.PeakOpen = max(s.stats.PeakOpen, s.stats.Open)
	return c, nil
}

// endLocked ends a connection, once.
func (s *Server) endLocked(c *conn) {
	if _, open := s.conns[c]; !open {
		return
	}
	delete(s.conns, c)
	s.stats.Closed++
	s.stats.Open--
	if s.NoCancel && time.Now().Before(c.busyUntil) {
		s.lingering = append(s.lingering, c.busyUntil)
	}
}

// expireLocked frees the places whose work is done.
func (s *Server) expireLocked() {
	now := time.Now()
	s.lingering = slices.DeleteFunc(s.lingering, func(end time.Time) bool { return !end.After(now) })
}

// work takes time, unless ctx ends or dead is closed before.
func work(ctx context.Context, d time.Duration, dead <-chan struct{}) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-dead:
		return errKilled
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connector is what the server's clients see of it.
type connector struct{ server *Server }

var _ driver.Connector = connector{}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) { return c.server.connect(ctx) }
func (c connector) Driver() driver.Driver                            { return fakeDriver(c) }

// fakeDriver is a driver with one server, whatever the name.
type fakeDriver struct{ server *Server }

var _ driver.DriverContext = fakeDriver{}

func (d fakeDriver) Open(string) (driver.Conn, error) { return d.server.connect(context.Background()) }

func (d fakeDriver) OpenConnector(string) (driver.Connector, error) { return connector(d), nil }

// stateError is an error that the server has sent.
type stateError struct{ state, text string }

var (
	errFull    = &stateError{"53300", "sorry, too many clients already"}
	errRefused = &stateError{"57P03", "the database system is starting up"}
	errKilled  = &stateError{"57P01", "terminating connection due to administrator command"}
)

func (e *stateError) Error() string {
	return fmt.Sprintf("dbpooltest: FATAL: %s (SQLSTATE %s)", e.text, e.state)
}

// SQLState is how pgx and lib/pq tell the code.
func (e *stateError) SQLState() string { return e.state }
