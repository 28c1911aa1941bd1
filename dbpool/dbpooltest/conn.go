package dbpooltest

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// conn is one connection. Like every driver.Conn it is used by one goroutine at a
// time; only Kill comes from elsewhere, and uses dead.
type conn struct {
	server    *Server
	dead      chan struct{} // closed by Kill
	lost      bool          // the client knows that the connection is of no use
	busyUntil time.Time     // end of a query whose caller has left
}

var (
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
)

// query executes one query or statement.
func (c *conn) query(ctx context.Context) error {
	if err := c.use(ctx); err != nil {
		return err
	}
	s := c.server
	s.mu.Lock()
	s.stats.Queries++
	s.mu.Unlock()
	end := time.Now().Add(s.QueryTime)
	err := work(ctx, s.QueryTime, c.dead)
	if err != nil {
		c.lost = true
		if !errors.Is(err, errKilled) {
			s.mu.Lock()
			c.busyUntil = end
			s.mu.Unlock()
		}
	}
	return err
}

// use is what each use of a connection begins with.
func (c *conn) use(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // nothing was sent: the connection stays good
	}
	select {
	case <-c.dead:
		c.lost = true
	default:
	}
	if c.lost {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid implements [driver.Validator]: a client does not know that it was killed
// before it tries.
func (c *conn) IsValid() bool { return !c.lost }

func (c *conn) ResetSession(context.Context) error {
	if c.lost {
		return driver.ErrBadConn
	}
	return nil
}

func (c *conn) Close() error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.lost = true
	c.server.endLocked(c)
	return nil
}

func (c *conn) Ping(ctx context.Context) error { return c.use(ctx) }

func (c *conn) ExecContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), c.query(ctx)
}

func (c *conn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if err := c.query(ctx); err != nil {
		return nil, err
	}
	return c.server.answer(query), nil
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return &stmt{conn: c, query: query}, c.use(ctx)
}

func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c *conn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	return tx{c}, c.use(ctx)
}

// tx is a transaction, which takes no time.
type tx struct{ conn *conn }

func (t tx) Commit() error   { return t.conn.use(context.Background()) }
func (t tx) Rollback() error { return t.conn.use(context.Background()) }

// stmt is a prepared statement.
type stmt struct {
	conn  *conn
	query string
}

var (
	_ driver.StmtExecContext  = (*stmt)(nil)
	_ driver.StmtQueryContext = (*stmt)(nil)
)

func (s *stmt) Close() error  { return nil }
func (s *stmt) NumInput() int { return -1 } // any number

func (s *stmt) Exec([]driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), nil)
}

func (s *stmt) Query([]driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), nil)
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// rows is a result that has been received in full.
type rows struct {
	columns []string
	values  [][]driver.Value
}

// mostConnections is the largest max_connections that PostgreSQL takes.
const mostConnections = 262143

func (s *Server) answer(query string) driver.Rows {
	if !strings.Contains(query, "pg_settings") {
		return &rows{columns: []string{"?column?"}, values: [][]driver.Value{{int64(1)}}}
	}
	limit := s.MaxConns
	if limit <= 0 {
		limit = mostConnections
	}
	return &rows{columns: []string{"name", "setting"}, values: [][]driver.Value{
		{"max_connections", strconv.Itoa(limit)},
		{"superuser_reserved_connections", "0"},
	}}
}

func (r *rows) Columns() []string { return r.columns }
func (r *rows) Close() error      { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if len(r.values) == 0 {
		return io.EOF
	}
	copy(dest, r.values[0])
	r.values = r.values[1:]
	return nil
}
