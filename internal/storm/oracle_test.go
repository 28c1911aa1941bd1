package storm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/storm"
)

// Cases that are solved by hand. The incident has 800 agents and 60 lookups a second.
func TestOracleByHand(t *testing.T) {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for name, want := range map[string]struct{ half, all float64 }{
		"none":      {400.0 / 60, 800.0 / 60},
		"slow5":     {5 + 300.0/60, 5 + 700.0/60}, // 100 in the first 5s
		"slow10":    {10 + 200.0/60, 10 + 600.0/60},
		"dip":       {400.0 / 60, 2 + 788.0/60}, // 12 within the dip, which begins when half are back
		"hang":      {10 + 400.0/60, 10 + 800.0/60},
		"fail":      {10 + 400.0/60, 10 + 800.0/60},
		"half":      {400.0 / 60, 800.0 / 60},
		"twice":     {400.0 / 60, 800.0 / 60},
		"deaf":      {400.0 / 60, 800.0 / 60},
		"hasty":     {400.0 / 60, 800.0 / 60},
		"crash":     {400.0/60 + 3 + 400.0/60, 400.0/60 + 3 + 800.0/60}, // half are back, are lost, and all begin again
		"bound10":   {5, 10},
		"bound100":  {50, 100},
		"bound1000": {500, 1000},
		"lenient":   {50, 100},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := storm.AdversityNamed(name)
			require.NoError(t, err)
			c := incident().Under(a)
			require.InDelta(t, seconds(want.half), c.Oracle(0.5), float64(time.Microsecond))
			require.InDelta(t, seconds(want.all), c.Oracle(1), float64(time.Microsecond))
			require.Equal(t, 4*c.Oracle(1), c.Horizon())
		})
	}
	require.Len(t, storm.Adversities(), 15, "each of them is solved above")
}

// A queue that is never empty, lookup by lookup, needs what the oracle says, and up to
// a lookup more, since lookups are whole.
func TestOracleIsThatOfABusyQueue(t *testing.T) {
	for _, a := range storm.Adversities() {
		if a.Crash || a.Bound > 0 {
			continue
		}
		c := incident().Under(a)
		got := busyQueue(c, a)
		require.GreaterOrEqual(t, got, c.Oracle(1)-time.Millisecond, a.Name)
		require.LessOrEqual(t, got, c.Oracle(1)+10*c.Service(), a.Name)
	}
}

// busyQueue steps through time by the millisecond and serves the next agent.
func busyQueue(c storm.Config, a storm.Adversity) time.Duration {
	const step = time.Millisecond
	bad := c.BadPhase()
	left := make([]float64, c.Workers()) // of each worker's lookup, in seconds
	begun, done := 0, 0
	for now := time.Duration(0); ; now += step {
		speed := 1.0
		if now >= bad.From && now < bad.To {
			speed = a.Pace
		}
		for i := range left {
			if left[i] <= 0 && begun < c.Agents && speed > 0 {
				left[i] = c.Service().Seconds()
				begun++
			}
			if left[i] > 0 {
				left[i] -= speed * step.Seconds()
				if left[i] <= 1e-9 {
					left[i] = 0
					done++
				}
			}
		}
		if done == c.Agents {
			return now + step
		}
	}
}

func TestBadWeatherIsRefused(t *testing.T) {
	for name, a := range map[string]storm.Adversity{
		"longer than the horizon":  {Name: "x", For: time.Minute},
		"a negative time":          {Name: "x", For: -time.Second},
		"a pace beyond full speed": {Name: "x", For: time.Second, Pace: 2},
		"more deaf than agents":    {Name: "x", Deaf: 1.5},
		"patience beyond a minute": {Name: "x", Patience: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var wrong *storm.FieldError
			require.ErrorAs(t, incident().Under(a).Validate(), &wrong)
			require.Equal(t, "adversity", wrong.Field)
			require.Contains(t, wrong.Error(), "must")
		})
	}
	_, err := storm.AdversityNamed("sunny")
	require.ErrorContains(t, err, "sunny")
	require.ErrorContains(t, err, "slow10")
	for _, a := range storm.Adversities() {
		require.NoError(t, incident().Under(a).Validate(), a.Name)
		require.NotEmpty(t, a.Says)
		require.Equal(t, a.Name != "none", a.Foul())
	}
}

// What the weather does to an arm is there, and not only in the oracle.
func TestWeatherIsFelt(t *testing.T) {
	t.Parallel()
	weather := func(name, arm string) storm.Result {
		a, err := storm.AdversityNamed(name)
		require.NoError(t, err)
		c := halved()
		return inBubble(t, c.Under(a), arm)
	}
	fair := weather("none", "window")
	require.Greater(t, *weather("hang", "gate").T50, 10/6.7)
	require.Greater(t, weather("fail", "gate").Attempts, 5.0, "failed logins come back")
	require.Greater(t, weather("deaf", "window").Attempts, fair.Attempts+0.1)
	require.Greater(t, weather("hasty", "gate").Attempts, 1.5, "agents leave the queue")
	crash, err := storm.AdversityNamed("crash")
	require.NoError(t, err)
	c := halved().Under(crash)
	crashed := inBubble(t, c, "planned")
	require.GreaterOrEqual(t, *crashed.T50*c.Bound().Seconds(), c.Oracle(0.5).Seconds()*0.999, "a stream that was lost does not count")
	require.Greater(t, crashed.Attempts, 1.4)
	require.Equal(t, 400, crashed.Back)
	var lost int
	for _, bin := range crashed.Timeline {
		lost = min(lost, bin.Back)
	}
	require.Less(t, lost, -150, "half of the agents lose their stream again")
}

// Agents in worse weather than that of the matrix: what they are is felt as well.
func TestDeafAndImpatientAgents(t *testing.T) {
	t.Parallel()
	c := incident()
	c.Agents = 200
	heeded := inBubble(t, c, "pacer")
	deaf := inBubble(t, c.Under(storm.Adversity{Deaf: 1}), "pacer")
	require.Greater(t, *deaf.T99, *heeded.T99+0.1, "hints are ignored")

	c.Agents = 60
	hasty := inBubble(t, c.Under(storm.Adversity{Patience: c.Service() / 2}), "gate")
	require.Equal(t, c.Agents, hasty.Back)
	require.Greater(t, hasty.ArrivalsUp, 1.5, "half a lookup is too short: its late verdict serves the next attempt")
}
