package redistier

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

const (
	aliveEvery = time.Second
	aliveFor   = 5 * time.Second  // without a sign of life
	fallAfter  = 10 * time.Second // that the number has been lower
	joinAfter  = 2 * aliveEvery   // by then the others have counted this replica
)

// Replicas reports once a second that this replica is alive. It calls f with the number of
// replicas that are alive, this one included, once it knows the number and whenever that
// changes. f divides by it the limits that all replicas share, and sets them.
//
// The number rises at once and falls only after it has been lower for ten seconds, so that
// limits are rather too low than too high. While Redis cannot be reached it stays as it
// is, and before it was reached f is not called: begin with the limits for as many
// replicas as there will ever be. A replica that joins others is told the number two
// seconds later than they are, when they have lowered their limits. Until then the sum is too
// high by the limits that it begins with.
//
// A replica that reaches the upstream but not Redis counts as gone after five seconds, and
// the others take over its share ten seconds later, while it keeps it: with n replicas the sum of the
// limits is then too high by 1/n.
//
// It returns when ctx is done, with its cause, and the others then count one replica less, or
// when the tier is closed, and they notice after five seconds. f is called on the goroutine of
// Replicas.
func (t *Tier) Replicas(ctx context.Context, f func(n int)) error {
	ctx, end := t.during(ctx)
	defer end()
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	var slow slowly
	var joined time.Time
	for {
		if n, err := t.alive(ctx, true); err == nil {
			now := time.Now()
			if joined.IsZero() {
				joined = now
			}
			if told := slow.n > 0; told || n == 1 || now.Sub(joined) >= joinAfter {
				if number, changed := slow.next(n, now); changed {
					f(number)
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), aliveEvery/2)
			_, _ = t.alive(leave, false)
			cancel()
			return context.Cause(ctx)
		}
	}
}

// alive says that this replica is or leaves, and returns how many are.
func (t *Tier) alive(ctx context.Context, stays bool) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, aliveEvery)
	defer cancel()
	client, ctx, done, err := t.use(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	flag := "0"
	if stays {
		flag = "1"
	}
	n, err := replicasScript.Exec(ctx, client, []string{t.names.replicas},
		[]string{t.member, millis(aliveFor), flag}).AsInt64()
	if err != nil {
		return 0, t.because("replicas", err)
	}
	return int(n), nil
}

// slowly is a number that rises at once and falls late.
type slowly struct {
	n     int
	lower time.Time // since when it has been, or zero
	most  int       // since then
}

// next returns the number and whether it has changed.
func (s *slowly) next(n int, now time.Time) (int, bool) {
	n = max(1, n)
	switch {
	case n > s.n:
		s.n, s.lower = n, time.Time{}
		return s.n, true
	case n == s.n:
		s.lower = time.Time{}
	case s.lower.IsZero():
		s.lower, s.most = now, n
	case now.Sub(s.lower) >= fallAfter:
		s.n, s.lower = max(s.most, n), time.Time{}
		return s.n, true
	default:
		s.most = max(s.most, n)
	}
	return s.n, false
}

func randomName() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x", b)
}
