package dbpooltest

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"
)

// conn is one connection. Like every driver.Conn it is used by one goroutine at a
// time; only Kill and Vanish come from elsewhere, and use dead and silent.
type conn struct {
	server    *Server
	dead      chan struct{} // closed by Kill
	silent    chan struct{} // closed by Vanish
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
func (c *conn) query(ctx context.Context, query string) (*Result, error) {
	if err := c.use(ctx); err != nil {
		return nil, err
	}
	s := c.server
	s.countQuery()
	end := time.Now().Add(s.QueryTime)
	err := work(ctx, s.QueryTime, c)
	if errors.Is(err, errSilent) {
		err = silence(ctx)
	}
	if err != nil {
		c.lost = true
		if !errors.Is(err, errKilled) {
			s.mu.Lock()
			c.busyUntil = end
			s.mu.Unlock()
		}
		return nil, err
	}
	return s.answer(query)
}

func (s *Server) countQuery() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Queries++
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
	select {
	case <-c.silent:
		c.lost = true
		return silence(ctx)
	default:
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

func (c *conn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	r, err := c.query(ctx, query)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(r.Affected), nil
}

func (c *conn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	r, err := c.query(ctx, query)
	if err != nil {
		return nil, err
	}
	return &rows{columns: r.Columns, values: r.Rows}, nil
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
