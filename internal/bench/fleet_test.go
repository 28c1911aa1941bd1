package bench_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// delays returns what the n-th wait of each agent of a fleet was, with the real
// loop of a library.
func delays(t *testing.T, r retrier, s schedule, agents, n int) []time.Duration {
	waits := make([]time.Duration, agents)
	synctest.Test(t, func(t *testing.T) {
		var fleet sync.WaitGroup
		for i := range agents {
			fleet.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				calls, last := 0, time.Now()
				err := r.new(s)(ctx, func() error {
					if calls++; calls == n+1 {
						waits[i] = time.Since(last)
						return nil
					}
					last = time.Now()
					return errRefused
				})
				if err != nil {
					t.Error(r.name, err)
				}
			})
		}
		fleet.Wait()
	})
	return waits
}

// modal returns how many agents have the most frequent delay.
func modal(waits []time.Duration) int {
	count, most := map[time.Duration]int{}, 0
	for _, w := range waits {
		count[w]++
		most = max(most, count[w])
	}
	return most
}

// A fleet that has failed ten times: who comes back at the same moment, and who
// later than Max.
func TestFleet(t *testing.T) {
	const agents = 800
	s := schedule{500 * time.Millisecond, 30 * time.Second}
	tab := newTable("fleet", "", "on one delay, of 800", "within 1 % of Max", "above Max", "longest / Max", "first delay: on one, of 800")
	for _, r := range retriers {
		tenth := delays(t, r, s, agents, 10)
		near, above, longest := 0, 0, time.Duration(0)
		for _, w := range tenth {
			if w > s.max {
				above++
			} else if w > s.max-s.max/100 {
				near++
			}
			longest = max(longest, w)
		}
		first := modal(delays(t, r, s, agents, 1))
		tab.add(r.name, modal(tenth), percent(near, agents), percent(above, agents), ratio(longest, s.max), first)
		if r.name == "ours" {
			require.LessOrEqual(t, modal(tenth), 2)
			require.LessOrEqual(t, first, 2)
			require.Zero(t, above)
			require.LessOrEqual(t, near, agents*6/100) // 2 % on the average
		}
	}
	tab.show(t)
}

// Waiting for what cannot come: the deadline is nearer than the next attempt.
func TestDoomedWait(t *testing.T) {
	tab := newTable("doomed", "", "returns after", "keeps the operation's error", "is DeadlineExceeded")
	for _, r := range retriers {
		if r.name == "avast-full" || r.name == "sethvargo-outer" {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			err := r.new(schedule{20 * time.Second, 30 * time.Second})(ctx, func() error { return errRefused })
			took := time.Since(began)
			kept, deadline := isErr(err, errRefused), isErr(err, context.DeadlineExceeded)
			tab.add(r.name, took, kept, deadline)
			if r.name == "ours" {
				require.Zero(t, took)
				require.ErrorIs(t, err, errRefused)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
	tab.show(t)
}
