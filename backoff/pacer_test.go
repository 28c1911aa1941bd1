package backoff_test

import (
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// enter takes n places.
func enter(t *testing.T, p *backoff.Pacer, n int) []*backoff.Slot {
	t.Helper()
	slots := make([]*backoff.Slot, n)
	for i := range slots {
		s, err := p.Enter()
		require.NoError(t, err)
		slots[i] = s
	}
	return slots
}

// turnedAway is the hint of an Enter that must not get a place.
func turnedAway(t *testing.T, p *backoff.Pacer) time.Duration {
	t.Helper()
	s, err := p.Enter()
	require.Nil(t, s)
	var busy *backoff.BusyError
	ok := errors.As(err, &busy)
	require.True(t, ok)
	d, ok := backoff.Hint(err)
	require.True(t, ok)
	require.Equal(t, busy.RetryAfter(), d)
	return d
}

func TestPacerGivesSlotsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: 2, Rate: 10}
		enter(t, p, 2)
		for i := range 30 {
			require.Equal(t, time.Duration(i+1)*100*time.Millisecond, turnedAway(t, p))
		}
		time.Sleep(time.Second)
		require.Equal(t, 2100*time.Millisecond, turnedAway(t, p))
		time.Sleep(2 * time.Second) // all slots have passed: from now, not from then
		require.InDelta(t, 200*time.Millisecond, turnedAway(t, p), 100e6)
	})
}

func TestPacerCounts(t *testing.T) {
	var p backoff.Pacer
	slots := enter(t, &p, 256)
	turnedAway(t, &p)
	slots[0].Done()
	slots[0].Cancel() // deferred, as a rule
	slots[1].Cancel()
	slots[1].Done()
	(*backoff.Slot)(nil).Done()
	(*backoff.Slot)(nil).Cancel()
	enter(t, &p, 2)
	turnedAway(t, &p)
	s := p.Stats()
	require.EqualValues(t, 258, s.Entered)
	require.EqualValues(t, 1, s.Finished)
	require.EqualValues(t, 1, s.Canceled)
	require.EqualValues(t, 2, s.TurnedAway)
	require.Equal(t, 256, s.Pending)
}

// Without a limit no place is ever missing: a queue is what shows how fast the server is,
// and logins that come one by one show nothing.
func TestPacerWithoutLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: -1, Rate: 100}
		for range 100 {
			slots := enter(t, p, 1)
			time.Sleep(time.Second)
			slots[0].Done()
		}
		require.InDelta(t, 100, p.Stats().Rate, 1e-9, "one by one")
		for _, s := range enter(t, p, 1000) {
			time.Sleep(100 * time.Millisecond)
			s.Done()
		}
		require.InDelta(t, 10, p.Stats().Rate, 0.5, "a queue")
	})
}

func TestPacerWindow(t *testing.T) {
	p := &backoff.Pacer{Rate: 80}
	require.Equal(t, 10*time.Second, p.Window(800))
	require.Zero(t, p.Window(0))
	require.Zero(t, p.Window(-1))
	require.Equal(t, time.Second, (&backoff.Pacer{}).Window(1000))
	require.Equal(t, time.Duration(math.MaxInt64), (&backoff.Pacer{Rate: 1e-300}).Window(math.MaxInt))
}

func TestPacerAnyRate(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324} {
		p := &backoff.Pacer{MaxPending: 1, Rate: rate}
		slots := enter(t, p, 1)
		for range 100 {
			require.Positive(t, turnedAway(t, p))
			slots[0].Done()
			slots = enter(t, p, 1)
			require.Positive(t, p.Window(1))
		}
	}
}

// The largest numbers mean no limit, and not that all clients are turned away.
func TestPacerOfTheLargestNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: math.MaxInt, Patience: math.MaxInt64, Rate: math.MaxFloat64}
		for wait := time.Duration(1); wait < time.Millisecond; wait *= 2 {
			slots := enter(t, p, 1000)
			time.Sleep(wait)
			for _, s := range slots {
				s.Done()
			}
		}
	})
}

func TestPacerIsSafe(t *testing.T) {
	p := &backoff.Pacer{MaxPending: 3}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				s, _ := p.Enter()
				defer s.Cancel()
				s.Done()
				p.Window(1)
				if p.Stats().Pending > 3 {
					t.Error("more than MaxPending")
				}
			}
		})
	}
	all.Wait()
	s := p.Stats()
	require.Zero(t, s.Pending)
	require.Equal(t, s.Entered, s.Finished)
	require.EqualValues(t, 8000, s.Entered+s.TurnedAway)
}

// busy keeps all places of p taken for d by a server that completes one every step.
func busy(t *testing.T, p *backoff.Pacer, slots []*backoff.Slot, step, d time.Duration) []*backoff.Slot {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(step)
		slots[0].Done()
		slots = append(slots[1:], enter(t, p, 1)...)
	}
	return slots
}

// The guess is gone after a tenth of a second in which all places are taken.
func TestPacerMeasures(t *testing.T) {
	for _, guess := range []float64{0, 10, 1000, 1e6} {
		synctest.Test(t, func(t *testing.T) {
			p := &backoff.Pacer{MaxPending: 10, Rate: guess}
			slots := busy(t, p, enter(t, p, 10), 10*time.Millisecond, 110*time.Millisecond)
			require.InDelta(t, 100, p.Stats().Rate, 0.001)
			require.InDelta(t, 10*time.Millisecond, turnedAway(t, p), 10)
			require.InDelta(t, 8*time.Second, p.Window(800), 1000)

			slots = busy(t, p, slots, 20*time.Millisecond, 6*time.Second)
			require.InDelta(t, 50, p.Stats().Rate, 0.5, "a server that became slower")
			for _, s := range slots {
				time.Sleep(20 * time.Millisecond)
				s.Done()
			}
			for range 100 {
				s := enter(t, p, 1)[0]
				time.Sleep(time.Millisecond)
				s.Done()
			}
			time.Sleep(time.Second)
			enter(t, p, 10)
			require.InDelta(t, 50, p.Stats().Rate, 0.5, "what it does with places to spare says nothing")
		})
	}
}

// The first completion may come at once, of one that entered long before, or late, after
// a pause: it says nothing. What is missing of a tenth of a second counts as if the
// guess were right.
func TestPacerKeepsTheGuessForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: 2, Rate: 50}
		slots := enter(t, p, 1)
		time.Sleep(99 * time.Millisecond)
		slots = append(slots, enter(t, p, 1)...)
		slots = busy(t, p, slots, time.Millisecond, time.Millisecond)
		require.InDelta(t, 50, p.Stats().Rate, 0.001)
		slots = busy(t, p, slots, time.Millisecond, time.Millisecond)
		require.InDelta(t, 10*(1+50*0.099), p.Stats().Rate, 0.001, "and not 1000")
		busy(t, p, slots, 50*time.Millisecond, 2*time.Second)
		require.InDelta(t, 20, p.Stats().Rate, 1)
	})
}

// A place that is empty while its client is on its way is not a slow server, and
// where a queue bridges the gap not a fast one.
func TestPacerMeasuresWithGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: 1}
		for range 50 {
			s := enter(t, p, 1)[0]
			time.Sleep(10 * time.Millisecond)
			s.Done()
			time.Sleep(90 * time.Millisecond)
		}
		require.InDelta(t, 100, p.Stats().Rate, 1)

		p = &backoff.Pacer{MaxPending: 20}
		slots := enter(t, p, 20)
		for range 200 {
			time.Sleep(2 * time.Millisecond)
			slots[0].Done()
			time.Sleep(8 * time.Millisecond)
			slots = append(slots[1:], enter(t, p, 1)...)
		}
		require.InDelta(t, 100, p.Stats().Rate, 6)
	})
}

// A server that is fed in bursts is as busy with half of its places taken as with all.
func TestPacerMeasuresAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: 10}
		slots := enter(t, p, 10)
		for range 20 {
			for _, s := range slots[:5] {
				time.Sleep(10 * time.Millisecond)
				s.Done()
			}
			slots = append(slots[5:], enter(t, p, 5)...)
		}
		require.InDelta(t, 100, p.Stats().Rate, 0.001)
	})
}

// All at once is how a server with many workers completes.
func TestPacerMeasuresRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: 20}
		for range 10 {
			slots := enter(t, p, 20)
			time.Sleep(500 * time.Millisecond)
			for _, s := range slots {
				s.Done()
			}
		}
		enter(t, p, 20)
		require.InDelta(t, 40, p.Stats().Rate, 0.001)
	})
}

func TestPacerCancelDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: 10, Rate: 100}
		slots := enter(t, p, 10)
		for range 100 {
			time.Sleep(time.Millisecond)
			slots[0].Cancel()
			slots = append(slots[1:], enter(t, p, 1)...)
		}
		require.InDelta(t, 100, p.Stats().Rate, 0.001)
	})
}

// Slots given at a guess too low do not keep others away when the rate is known.
func TestPacerClosesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backoff.Pacer{MaxPending: 50, Rate: 1}
		slots := enter(t, p, 50)
		for range 100 {
			require.LessOrEqual(t, turnedAway(t, p), 13*time.Second)
		}
		busy(t, p, slots, 10*time.Millisecond, 500*time.Millisecond)
		require.Less(t, turnedAway(t, p), time.Second, "100 slots at 100 a second, of which some have passed")
	})
}

// FuzzPacer lets a server with any configuration live through anything.
func FuzzPacer(f *testing.F) {
	for _, rate := range []float64{0, 1, -1, 1e-300, 1e300, math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, pending := range []int{0, 1, 3, -1, math.MaxInt, math.MinInt} {
			f.Add(pending, rate, math.MaxInt, int64(time.Hour), []byte("eeeeteetdedeteecddetwdeee"))
			f.Add(pending, rate, -1, int64(1), []byte("eeetdetdetdetdetwceeee"))
		}
	}
	f.Fuzz(func(t *testing.T, pending int, rate float64, n int, step int64, life []byte) {
		synctest.Test(t, func(t *testing.T) {
			p := &backoff.Pacer{MaxPending: pending, Rate: rate}
			var slots []*backoff.Slot
			for _, event := range life[:min(len(life), 500)] {
				switch event {
				case 'e':
					s, err := p.Enter()
					if d, hinted := backoff.Hint(err); hinted == (s != nil) || d < 0 {
						t.Fatalf("%v and %v", s, err)
					}
					slots = append(slots, s)
				case 'd', 'c':
					if len(slots) > 0 {
						end := map[byte]func(*backoff.Slot){'d': (*backoff.Slot).Done, 'c': (*backoff.Slot).Cancel}
						end[event](slots[0])
						slots = slots[1:]
					}
				case 't':
					time.Sleep(time.Duration(step) % time.Hour)
				}
				s, w := p.Stats(), p.Window(n)
				if !(s.Rate > 0) || math.IsInf(s.Rate, 1) || w < 0 || s.Pending < 0 || pending > 0 && s.Pending > pending {
					t.Fatalf("%+v, window %v", s, w)
				}
			}
		})
	})
}
