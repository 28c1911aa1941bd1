// Package dbpooltest is a database server for tests: it takes its time, is full,
// refuses, hangs, dies and falls silent on demand, and counts. It tests the load
// that a connection pool puts on a server, and a client whose server is in trouble.
//
//	srv := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, MaxConns: 50}
//	db := sql.OpenDB(srv.Connector())
//
// There are three ways to connect to it:
//
//   - [Server.Connector] is a driver of database/sql that never leaves memory. It has
//     no goroutine, and works inside a testing/synctest bubble.
//   - [Server.DSN] is an address for drivers of PostgreSQL, such as lib/pq, pgx and
//     pgxpool, so that code that says sql.Open("postgres", dsn) is tested unchanged.
//     It listens on the loopback interface and ends with the test.
//   - [Server.Dial] speaks the same protocol over a connection in memory, for drivers
//     that let their caller dial, inside a testing/synctest bubble.
//
// All of them share the server's places and counters.
//
// # Answers
//
// A query returns one row with one column that holds the number 1, and a statement
// has affected one row, unless [Server.Answer] says otherwise. A query that names
// pg_settings returns the server's limits as PostgreSQL does: rows of name and setting
// for max_connections (MaxConns, or 262143, which is PostgreSQL's upper bound, for an
// unlimited server) and superuser_reserved_connections (0).
//
// Code that scans other columns than one fails with "expected 1 destination arguments in
// Scan". A Server.Answer that returns new(Result) is a database without rows, which is
// enough for many programs, their migrations included.
//
// Over the wire every user and password is right; there is no TLS, COPY or LISTEN.
// Simple and extended queries, prepared statements, transactions and cancel requests
// work. Parameters are accepted and ignored.
//
// # The end of a context
//
// A server never sees a client's context, only the actions of its driver. The fixture's
// own driver acts as PostgreSQL and pgx do together:
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
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
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

	// Answer returns the result of a query or statement, or an error, which should
	// be an [*Error], upon which the connection stays good. It is called on the
	// goroutine that serves the query, so on several at once. A nil Answer, and a nil
	// result without an error, are the default answer. Over the wire a prepared
	// statement asks it when the statement is described, and takes that result when it
	// is executed for the first time.
	Answer func(query string) (*Result, error)

	// NoCancel means that the server hears no cancel request: an abandoned query is
	// executed to its end and holds its place until then. So it is with MySQL, and
	// with PostgreSQL when the client's machine has died.
	NoCancel bool

	mu        sync.Mutex // guards the fields below
	refuse    bool
	hang      bool
	starting  int // places of dials whose client waits
	conns     map[*conn]struct{}
	lingering []time.Time           // ends of the work that is done for clients who have left
	keys      map[backendKey]func() // cancels a session's query
	stats     Stats
}

// Stats are the counters of a [Server].
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
	Lingering   int // Lingering is the number of places held for clients that have left.
}

// Connector returns a connector to s, for [database/sql.OpenDB]. All
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

// Vanish silences every open connection, as when the server's machine is lost, or
// something on the way forgets the connections: nothing arrives any more, in neither
// direction, and neither side is told. New connections work. The use of a silent connection
// hangs until its context ends, or for 15 minutes, after which it fails with an error
// that wraps [syscall.ETIMEDOUT]: for about so long the Linux kernel repeats packets that
// are not acknowledged. Closing one works at once. The places of silent connections are
// free.
//
// Over the wire the server stops answering. The kernel still acknowledges all packets,
// so that no time-out of TCP ends the connection.
func (s *Server) Vanish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		close(c.silent)
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
func (s *Server) connect(ctx context.Context) (*conn, error) {
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
func (s *Server) established(hung bool, done time.Time, err error) (*conn, error) {
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
	c := &conn{server: s, dead: make(chan struct{}), silent: make(chan struct{})}
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

// work takes time, unless ctx ends or c is killed or falls silent before. A nil c is
// a dial.
func work(ctx context.Context, d time.Duration, c *conn) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	var dead, silent chan struct{}
	if c != nil {
		dead, silent = c.dead, c.silent
	}
	select {
	case <-timer.C:
		return nil
	case <-dead:
		return errKilled
	case <-silent:
		return errSilent
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errSilent = errors.New("dbpooltest: the connection has fallen silent")

// retransmission is how long Linux repeats a packet that is not acknowledged: 15
// times, by its default of tcp_retries2, which takes 924.6 s or more.
const retransmission = 15 * time.Minute

// silence is the use of a connection over which nothing arrives.
func silence(ctx context.Context) error {
	timer := time.NewTimer(retransmission)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("dbpooltest: %w", syscall.ETIMEDOUT)
	}
}

// connector is what the server's clients see of it.
type connector struct{ server *Server }

var _ driver.Connector = connector{}

func (c connector) Driver() driver.Driver { return fakeDriver(c) }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.server.connect(ctx)
	if err != nil {
		return nil, err // and not a nil *conn in an interface
	}
	return conn, nil
}

// fakeDriver is a driver with one server, whatever the name.
type fakeDriver struct{ server *Server }

var _ driver.DriverContext = fakeDriver{}

func (d fakeDriver) Open(string) (driver.Conn, error) {
	return connector(d).Connect(context.Background())
}

func (d fakeDriver) OpenConnector(string) (driver.Connector, error) { return connector(d), nil }
