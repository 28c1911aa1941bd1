package dbpool

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// pingDeadline is how long a suspect has to answer: several times what a packet that
// was lost once or twice takes.
const pingDeadline = time.Second

// Suspect pings all idle connections of db at the same time, for at most a second, and
// returns how many of them did not answer, and are closed. It works on any pool. Call it
// when a query has ended by its deadline, if the driver does not dial by a [Dialer], which
// does as much by itself:
//
//	if _, err := db.ExecContext(ctx, update); errors.Is(err, context.DeadlineExceeded) {
//		dbpool.Suspect(context.WithoutCancel(ctx), db)
//	}
//
// Without it, of connections that died in silence each costs a query its deadline. While
// they are pinged, other callers dial, or wait if MaxOpen connections are open. A slow
// server that answers pings loses nothing. A nil db, and a pool without idle connections,
// have no suspects.
func Suspect(ctx context.Context, db *sql.DB) (dead int) {
	if db == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, pingDeadline)
	defer cancel()
	idle := db.Stats().Idle
	held := make([]*sql.Conn, 0, idle)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards held and dead
	for range idle {
		wg.Go(func() {
			conn, err := db.Conn(ctx) // some drivers ping here
			if err == nil {
				err = conn.PingContext(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			if conn != nil {
				held = append(held, conn)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				dead++
			}
		})
	}
	wg.Wait()
	for _, conn := range held { // only now, or a ping would meet one that has answered
		_ = conn.Close()
	}
	return dead
}
