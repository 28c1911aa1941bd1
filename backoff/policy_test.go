package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/backoff"
)

// sample draws n values.
func sample(n int, draw func() time.Duration) []time.Duration {
	s := make([]time.Duration, n)
	for i := range s {
		s[i] = draw()
	}
	return s
}

// requireUniform holds values to an even spread over (low, high]: by chi-square in 16
// boxes, by both tails and by the most frequent value. A sound generator fails
// it less than once in 10^9 runs for 2000 values and more.
func requireUniform(t *testing.T, low, high time.Duration, values []time.Duration) {
	t.Helper()
	var boxes [16]float64
	least, most := values[0], values[0]
	same, modal := map[time.Duration]int{}, 0
	for _, v := range values {
		box := int(float64(v-low) / float64(high-low) * float64(len(boxes)))
		boxes[max(min(box, len(boxes)-1), 0)]++
		least, most = min(least, v), max(most, v)
		same[v]++
		modal = max(modal, same[v])
	}
	require.GreaterOrEqual(t, least, low)
	require.LessOrEqual(t, most, high)
	n := float64(len(values))
	expected, chi := n/float64(len(boxes)), 0.0
	for _, got := range boxes {
		chi += (got - expected) * (got - expected) / expected
	}
	require.Less(t, chi, 80.0, "chi-square of 15 degrees of freedom: %v", boxes)
	tail := time.Duration(25 / n * float64(high-low)) // empty once in e^25
	require.Less(t, least-low, tail, "lower tail")
	require.Less(t, high-most, tail, "upper tail")
	if high-low > time.Millisecond {
		require.LessOrEqual(t, modal, 4, "a value that is drawn again and again")
	}
}

func TestDelayOfZeroPolicy(t *testing.T) {
	for n, ceiling := range map[int]time.Duration{
		-1: 500 * time.Millisecond, 0: 500 * time.Millisecond, 1: 500 * time.Millisecond,
		2: time.Second, 3: 2 * time.Second, 6: 16 * time.Second,
		7: 30 * time.Second, 8: 30 * time.Second, 64: 30 * time.Second, 65: 30 * time.Second, math.MaxInt: 30 * time.Second,
	} {
		requireUniform(t, ceiling/2, ceiling, sample(2000, func() time.Duration { return backoff.Policy{}.Delay(n) }))
	}
}

func TestDelayJitter(t *testing.T) {
	p := backoff.Policy{Min: time.Hour, Max: time.Hour}
	for jitter, low := range map[float64]time.Duration{
		0: 30 * time.Minute, 0.5: 30 * time.Minute, math.NaN(): 30 * time.Minute,
		0.1: 54 * time.Minute, 1: 0, 7: 0, math.Inf(1): 0,
	} {
		p.Jitter = jitter
		requireUniform(t, low, time.Hour, sample(2000, func() time.Duration { return p.Delay(1) }))
	}
	for _, none := range []float64{-1, -1e-300, math.Inf(-1)} {
		p.Jitter = none
		require.Equal(t, time.Hour, p.Delay(1))
	}
}

func TestDelayGrowth(t *testing.T) {
	const s = time.Second
	for _, given := range []struct {
		factor float64
		delays [6]time.Duration
	}{
		{0, [6]time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 20 * s}},
		{math.NaN(), [6]time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 20 * s}},
		{2, [6]time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 20 * s}},
		{1.5, [6]time.Duration{s, 1500 * time.Millisecond, 2250 * time.Millisecond, 3375 * time.Millisecond, 5062500 * time.Microsecond, 7593750 * time.Microsecond}},
		{3, [6]time.Duration{s, 3 * s, 9 * s, 20 * s, 20 * s, 20 * s}},
		{math.Inf(1), [6]time.Duration{s, 20 * s, 20 * s, 20 * s, 20 * s, 20 * s}},
		{1, [6]time.Duration{s, s, s, s, s, s}},
		{0.5, [6]time.Duration{s, s, s, s, s, s}},
		{-1, [6]time.Duration{s, s, s, s, s, s}},
	} {
		p := backoff.Policy{Min: s, Max: 20 * s, Factor: given.factor, Jitter: -1}
		for i, want := range given.delays {
			require.Equal(t, want, p.Delay(i+1), "factor %v, failure %d", given.factor, i+1)
		}
	}
}

func TestDelayLimits(t *testing.T) {
	none := backoff.Policy{Jitter: -1}
	with := func(least, most time.Duration) backoff.Policy {
		p := none
		p.Min, p.Max = least, most
		return p
	}
	require.Equal(t, time.Second, with(time.Minute, time.Second).Delay(1), "Max wins")
	require.Equal(t, 500*time.Millisecond, with(-1, 0).Delay(1))
	require.Equal(t, time.Duration(math.MaxInt64), with(0, -1).Delay(100), "no ceiling")
	require.Equal(t, time.Duration(math.MaxInt64), with(0, math.MaxInt64).Delay(100))
	require.Equal(t, 500*time.Millisecond<<30, with(0, -1).Delay(31))
}

// A nanosecond must not be jittered to nothing: the low end of a delay is open.
func TestDelayIsNeverZero(t *testing.T) {
	p := backoff.Policy{Min: 1, Max: 1, Jitter: 1}
	for range 10_000 {
		require.EqualValues(t, 1, p.Delay(1))
	}
}

// Where the cap is applied after the jitter, a fleet ends up at one and the same delay.
func TestNobodyPilesUpAtMax(t *testing.T) {
	const n = 100_000
	delays := sample(n, func() time.Duration { return backoff.Policy{}.Delay(20) })
	requireUniform(t, 15*time.Second, 30*time.Second, delays)
	top := 0
	for _, d := range delays {
		if d > 29850*time.Millisecond {
			top++
		}
	}
	require.InDelta(t, n/100, top, n/400, "the last hundredth of the interval holds a hundredth")
}

// A delay must not depend on the one before it, as a decorrelated one does.
func TestDelaysAreIndependent(t *testing.T) {
	const n = 20_000
	delays := sample(n+1, func() time.Duration { return backoff.Policy{}.Delay(20) })
	var sum float64
	for i := range n {
		sum += (delays[i].Seconds() - 22.5) * (delays[i+1].Seconds() - 22.5)
	}
	variance := 15.0 * 15 / 12
	require.InDelta(t, 0, sum/n/variance, 7/math.Sqrt(n), "autocorrelation")
}

func TestPolicyIsComparable(t *testing.T) {
	require.Contains(t, map[backoff.Policy]bool{{Min: 1}: true}, backoff.Policy{Min: 1})
}

func FuzzDelay(f *testing.F) {
	for _, v := range []int64{0, 1, -1, int64(time.Second), math.MaxInt64, math.MinInt64} {
		for _, x := range []float64{0, 0.5, 1, 1.5, 2, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
			f.Add(v, v, x, x, 1)
			f.Add(int64(1), v, x, 1.0, 63)
			f.Add(v, int64(math.MaxInt64), 2.0, x, 64)
			f.Add(v, int64(-1), x, -x, math.MaxInt)
		}
	}
	f.Fuzz(func(t *testing.T, least, most int64, factor, jitter float64, n int) {
		p := backoff.Policy{
			Min: time.Duration(least), Max: time.Duration(most), Factor: factor, Jitter: jitter,
			MaxAttempts: n, MaxElapsed: time.Duration(least), MaxHint: time.Duration(most),
		}
		ceiling := p.Max
		switch {
		case most == 0:
			ceiling = 30 * time.Second
		case most < 0:
			ceiling = math.MaxInt64
		}
		for range 4 {
			if d := p.Delay(n); d <= 0 || d > ceiling {
				t.Fatalf("%+v: delay %d after %d failures", p, d, n)
			}
		}
	})
}

func TestDelayDoesNotAllocate(t *testing.T) {
	var d time.Duration
	for _, p := range []backoff.Policy{{}, {Factor: 1.5}, exact} {
		require.Zero(t, testing.AllocsPerRun(1000, func() { d += p.Delay(5) }))
	}
}
