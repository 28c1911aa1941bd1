package storm

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/connhygiene/connhygiene/dbpool"
)

// upstream is the identity provider: it looks tokens up in a database, first
// come first served, a fixed number at once. It lives through the server's
// death, and so do the lookups it was asked for.
type upstream struct {
	ctx     context.Context // ends with the experiment, never with a caller
	cancel  context.CancelFunc
	db      *sql.DB
	query   string
	meter   *meter // knows when the server is up
	config  Config
	dials   *counted
	workers *semaphore.Weighted
	begin   sync.Mutex // held by what begins a lookup, and by close to end that
	running sync.WaitGroup
	done    atomic.Int64 // lookups executed to their end
}

func newUpstream(ctx context.Context, c Config, m *meter, open func(driver.Connector, Config) (*sql.DB, error)) (*upstream, error) {
	dials := &counted{Connector: c.Connector}
	db, err := open(dials, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &upstream{
		ctx: ctx, cancel: cancel, db: db, query: c.Query, meter: m, config: c, dials: dials,
		workers: semaphore.NewWeighted(int64(c.Workers())),
	}, nil
}

// lookup asks for the verdict on token and waits for it until ctx ends. A lookup
// that no caller waits for any more is executed all the same: the upstream cannot
// know, and this is what makes a livelock.
func (u *upstream) lookup(ctx context.Context, token string) error {
	verdict := make(chan error, 1)
	if err := u.start(func() { verdict <- u.execute(token) }); err != nil {
		return err
	}
	select {
	case err := <-verdict:
		return err
	case <-ctx.Done():
		return fmt.Errorf("lookup: %w", context.Cause(ctx))
	}
}

// start runs f beside the caller, unless the experiment is over: a server's cache
// looks up the tokens of callers that have left as well, and may do so at any time.
func (u *upstream) start(f func()) error {
	u.begin.Lock()
	defer u.begin.Unlock()
	if err := u.ctx.Err(); err != nil {
		return err
	}
	u.running.Go(f)
	return nil
}

// execute holds a database connection from the beginning, as a request handler
// that has opened its transaction does.
func (u *upstream) execute(token string) error {
	if u.fails() {
		return errUpstream
	}
	conn, err := u.db.Conn(u.ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := u.workers.Acquire(u.ctx, 1); err != nil {
		return err
	}
	defer u.workers.Release(1)
	slower := u.slower()
	var found int64
	if err := conn.QueryRowContext(u.ctx, u.query, token).Scan(&found); err != nil {
		return err
	}
	if slower > 0 && !sleep(u.ctx, slower) {
		return u.ctx.Err()
	}
	u.done.Add(1)
	return nil
}

var errUpstream = errors.New("storm: the upstream fails")

// fails reports whether lookups fail now.
func (u *upstream) fails() bool {
	now, up := u.meter.sinceUp()
	bad := u.config.BadPhase()
	return u.config.Adversity.Fails && up && now >= bad.From && now < bad.To
}

// slower is by how much longer a lookup takes that begins now.
func (u *upstream) slower() time.Duration {
	now, up := u.meter.sinceUp()
	if !up || u.config.Adversity.Fails {
		return 0
	}
	takes := u.config.Service()
	return u.config.finish(now, takes) - now - takes
}

// String is what the pool has counted.
func (u *upstream) String() string {
	s := u.db.Stats()
	return fmt.Sprintf("pool: %d opened, %d refused, %d closed for lack of an idle place, %d lookups waited for a connection",
		u.dials.opened.Load(), u.dials.refused.Load(), s.MaxIdleClosed, s.WaitCount)
}

func (u *upstream) close() error {
	u.begin.Lock()
	u.cancel()
	u.begin.Unlock()
	u.running.Wait()
	return u.db.Close()
}

// counted counts what a pool does to its server.
type counted struct {
	driver.Connector
	opened, refused atomic.Int64
}

func (c *counted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	var state interface{ SQLState() string }
	switch {
	case err == nil:
		c.opened.Add(1)
	case errors.As(err, &state) && state.SQLState() == "53300":
		c.refused.Add(1)
	}
	return conn, err
}

// unlimitedPool is database/sql as it comes: any number open, two kept.
func unlimitedPool(c driver.Connector, _ Config) (*sql.DB, error) { return sql.OpenDB(c), nil }

// grafanaPool has the constants that ended the PMM incident: 100 open, 25 kept.
func grafanaPool(c driver.Connector, _ Config) (*sql.DB, error) {
	db := sql.OpenDB(c)
	return db, dbpool.Config{MaxOpen: 100, MaxIdle: 25}.Apply(db)
}

// authPool is sized by what is in flight.
func authPool(c driver.Connector, cfg Config) (*sql.DB, error) {
	return dbpool.Open(dbpool.NewConnector(c, dbpool.Dial{Timeout: 5 * time.Second}), dbpool.AuthPath(cfg.InFlight()))
}

// cachePool is sized by what the cache asks for at once by default.
func cachePool(c driver.Connector, _ Config) (*sql.DB, error) {
	return dbpool.Open(dbpool.NewConnector(c, dbpool.Dial{Timeout: 5 * time.Second}), dbpool.AuthPath(defaultLoads))
}

// defaultLoads is ttlcache.Config.MaxLoads where it is zero.
const defaultLoads = 32
