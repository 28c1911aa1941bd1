package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/connhygiene/connhygiene/dbpool"
)

// pools are those of a service: each part has its own, so that a storm of agents
// takes no connection from the rest.
type pools struct{ agents, api, internal *sql.DB }

// openPools asks the server how much there is and opens a pool for each part. It fails
// at start, by name, if the server has too few.
func openPools(ctx context.Context, c driver.Connector, replicas int, out io.Writer) (*pools, error) {
	budget, err := dbpool.ServerBudget(ctx, c)
	if err != nil {
		return nil, err
	}
	budget.Reserved += 5 // people and monitoring
	budget.Replicas, budget.Surge, budget.Parallel = replicas, 0.25, 1
	sizes, err := budget.Split(
		dbpool.Share{Name: "agents", Weight: 2},
		dbpool.Share{Name: "api", Weight: 2},
		dbpool.Share{Name: "internal", Min: 1, Max: 4},
	)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "The server takes %d connections, %d of them reserved. Each of %d processes, and of a quarter more during a rollout, opens at most: %v\n",
		budget.MaxConnections, budget.Reserved, replicas, sizes)
	p := &pools{}
	for name, db := range map[string]**sql.DB{"agents": &p.agents, "api": &p.api, "internal": &p.internal} {
		connector := dbpool.NewConnector(shared{c}, dbpool.Dial{Parallel: budget.Parallel}) // as the budget has it
		if *db, err = dbpool.Open(connector, dbpool.Server(sizes[name])); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// shared is a connector that outlives the pool that closes it.
type shared struct{ driver.Connector }

func (p *pools) close() error {
	var errs []error
	for _, db := range []*sql.DB{p.agents, p.api, p.internal} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// sizes is the start of a service: a budget, bulkheads, and a pool that is warm
// before the first request.
func sizes(ctx context.Context, o options, db *database, out io.Writer) error {
	c, err := db.connector()
	if err != nil {
		return err
	}
	p, err := openPools(ctx, c, o.replicas, out)
	if err != nil {
		return err
	}
	from := time.Now()
	n, err := dbpool.Warm(ctx, p.api, p.api.Stats().MaxOpenConnections)
	fmt.Fprintf(out, "The pool of the API has %d connections after %v, before its first request.\n", n, time.Since(from).Round(time.Millisecond))
	return errors.Join(err, p.close())
}

// churn puts two pools of the same size under the same load and reports what became
// of their connections.
func churn(ctx context.Context, o options, db *database, out io.Writer) error {
	c, err := db.connector()
	if err != nil {
		return err
	}
	const workers = 10
	forgetful := dbpool.Config{MaxOpen: workers, MaxIdle: 2} // what database/sql keeps by default
	for _, config := range []dbpool.Config{forgetful, dbpool.Server(workers)} {
		connector := dbpool.NewConnector(shared{c}, dbpool.Dial{})
		pool, err := dbpool.Open(connector, config)
		if err != nil {
			return err
		}
		from := dbpool.Snap(pool, connector)
		queries, err := work(ctx, pool, workers, o.load)
		found := dbpool.Snap(pool, connector).Since(from)
		if err := errors.Join(err, pool.Close()); err != nil {
			return err
		}
		fmt.Fprintf(out, "%v: %d queries, %d connections opened, %.1f closed a second\n", config, queries, found.Opened, found.PerSecond)
		for _, advice := range dbpool.Advise(config, found) {
			fmt.Fprintf(out, "  set %s to %d: %s\n", advice.Field, advice.Suggest, advice.Text)
		}
	}
	return nil
}

// work lets workers query and think, query and think.
func work(ctx context.Context, db *sql.DB, workers int, d time.Duration) (queries int, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var (
		mu sync.Mutex // guards queries and err
		wg sync.WaitGroup
	)
	for range workers {
		wg.Go(func() {
			for pause(ctx, 5*time.Millisecond) {
				_, e := db.ExecContext(ctx, "select pg_sleep(0.003)")
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				queries++
				err = errors.Join(err, e)
				mu.Unlock()
				if e != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return queries, err
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
