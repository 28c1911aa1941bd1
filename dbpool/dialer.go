package dbpool

import (
	"context"
	"errors"
	"net"
	"time"
)

// Dialer returns the dial function of a zero [TCP], for the hook with which a driver lets
// its caller dial. With pgx:
//
//	cfg, err := pgx.ParseConfig(dsn)
//	if err != nil {
//		return err
//	}
//	cfg.DialFunc = dbpool.Dialer()
//	db, err := dbpool.Open(stdlib.GetConnector(*cfg), dbpool.Server(20))
//
// With github.com/go-sql-driver/mysql:
//
//	cfg, err := mysql.ParseDSN(dsn)
//	if err != nil {
//		return err
//	}
//	cfg.DialFunc = dbpool.Dialer()
//	connector, err := mysql.NewConnector(cfg)
//
// With lib/pq, whose hook is an interface, and which wants a short UserTimeout (see [TCP]):
//
//	type pqDialer func(ctx context.Context, network, addr string) (net.Conn, error)
//
//	func (d pqDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
//		return d(ctx, network, addr)
//	}
//
//	func (d pqDialer) Dial(network, addr string) (net.Conn, error) {
//		return d(context.Background(), network, addr)
//	}
//
//	func (d pqDialer) DialTimeout(network, addr string, timeout time.Duration) (net.Conn, error) {
//		ctx, cancel := context.WithTimeout(context.Background(), timeout)
//		defer cancel()
//		return d(ctx, network, addr)
//	}
//
//	connector, err := pq.NewConnector(dsn)
//	if err != nil {
//		return err
//	}
//	connector.Dialer(pqDialer(dbpool.TCP{UserTimeout: 5 * time.Second}.Dialer()))
//
// One function serves any number of servers and pools. A driver that ignores the function
// dials as before: then nothing of this happens, and nothing reports it.
func Dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	return TCP{}.Dialer()
}

// TCP is how a driver's connections are dialed, so that the death of a peer that sends
// no word of it is noticed soon. A host that loses its power, and a NAT or balancer that
// forgets a connection, are such peers: without this, each idle connection costs a query
// its whole deadline, one after the other. The zero value is ready.
//
// Three things notice it:
//
//   - Keep-alive probes find a dead connection that is idle within 30s, on all systems.
//   - UserTimeout ends a connection whose data was not acknowledged for 30s. Linux
//     alone has it; elsewhere the system's own limit holds, which may be minutes, unless
//     the query has a deadline.
//   - A query that ends by its deadline without a byte of an answer, over a connection
//     that had answered before, makes all idle connections to that address suspect, unless the
//     address has sent anything over any connection since the query was sent. They are closed at once.
//     The driver finds that out before it sends anything, and database/sql dials anew:
//     of 16 dead connections one costs a query. Idle connections to one address are closed
//     at most once a second.
//
// The third needs a driver that ends a query at its deadline, as pgx and MySQL's do.
// The driver lib/pq waits for the server's answer even after the deadline, so that
// UserTimeout decides how long a query takes: set it to a few seconds there.
type TCP struct {
	// KeepAliveIdle is how long a connection is silent before it is probed. Zero means
	// 15s. Below zero there are no keep-alive probes.
	KeepAliveIdle time.Duration

	// KeepAliveInterval is the time between two probes. Zero means 5s; below zero it is
	// the system's default.
	KeepAliveInterval time.Duration

	// KeepAliveCount is how many probes in a row may stay unanswered. Zero means 3; below
	// zero it is the system's default.
	KeepAliveCount int

	// UserTimeout is how long sent data may stay unacknowledged before the system ends
	// the connection: TCP_USER_TIMEOUT on Linux, and nothing on other systems. Zero
	// means 30s; below zero it is the system's default.
	UserTimeout time.Duration

	// Dial dials, through a tunnel for example. Nil means a [net.Dialer]. The times
	// above apply to its connection if that is a [*net.TCPConn].
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

const (
	// Together they find a dead idle connection within 30s, which is the shortest idle
	// time after which a common middlebox forgets a connection, and cost two packets
	// every 15s.
	defaultKeepAliveIdle     = 15 * time.Second
	defaultKeepAliveInterval = 5 * time.Second
	defaultKeepAliveCount    = 3
	defaultUserTimeout       = 30 * time.Second
)

// Dialer returns a function that dials as t says. It may be called by any number of
// goroutines. Connections that it returns have the method SyscallConn if those below
// have it, and NetConn, which returns the one below.
func (t TCP) Dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	t = t.withDefaults()
	known := &addresses{known: make(map[string]*address)}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := t.Dial(ctx, network, addr)
		switch {
		case err != nil:
			return nil, err
		case conn == nil:
			return nil, errNoConn
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			t.set(tcp)
		}
		return known.watch(conn, network+" "+addr), nil
	}
}

var errNoConn = errors.New("dbpool: TCP.Dial returned neither a connection nor an error")

func (t TCP) withDefaults() TCP {
	if t.KeepAliveIdle == 0 {
		t.KeepAliveIdle = defaultKeepAliveIdle
	}
	if t.KeepAliveInterval == 0 {
		t.KeepAliveInterval = defaultKeepAliveInterval
	}
	if t.KeepAliveCount == 0 {
		t.KeepAliveCount = defaultKeepAliveCount
	}
	if t.UserTimeout == 0 {
		t.UserTimeout = defaultUserTimeout
	}
	if t.Dial == nil {
		t.Dial = (&net.Dialer{KeepAlive: -1}).DialContext // set does it
	}
	return t
}

// set sets the options of a socket. One that the system does not take is left as it
// is, as package net does.
func (t TCP) set(conn *net.TCPConn) {
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: t.KeepAliveIdle > 0, Idle: t.KeepAliveIdle, Interval: t.KeepAliveInterval, Count: t.KeepAliveCount,
	})
	if t.UserTimeout > 0 {
		setUserTimeout(conn, t.UserTimeout)
	}
}
