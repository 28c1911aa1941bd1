package storm_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/connhygiene/connhygiene/internal/storm"
)

// incident is the storm of the PMM report in virtual time: 800 agents.
func incident() storm.Config {
	return storm.Config{
		Agents:   800,
		Capacity: 60,
		Outage:   3 * time.Second,
		Deadline: 1500 * time.Millisecond,
		Seed:     1,
		Memory:   true,
	}
}

// inBubble plays one arm in virtual time.
func inBubble(t *testing.T, c storm.Config, arm string) storm.Result {
	t.Helper()
	var res storm.Result
	synctest.Test(t, func(t *testing.T) {
		var err error
		res, err = storm.Run(t.Context(), c, arm, nil)
		require.NoError(t, err)
	})
	require.False(t, res.Interrupted)
	t.Logf("%s: %d back, t99 %s, t100 %s, %.2f attempts, %.2f once up, %.2f handled, %.2f timeouts, %.2f wasted, peak %.1f; %q",
		arm, res.Back, multiple(res.T99), multiple(res.T100), res.Attempts, res.AttemptsUp, res.ArrivalsUp, res.Timeouts, res.Wasted, res.Peak, res.Figures)
	return res
}

// storming is the incident, or half of it where the race detector slows it tenfold.
func storming() storm.Config {
	if raceEnabled {
		return halved()
	}
	return incident()
}

// halved is enough for a livelock, which costs real time: it never ends.
func halved() storm.Config {
	c := incident()
	c.Agents /= 2
	return c
}

func multiple(t *float64) string {
	if t == nil {
		return "never"
	}
	return fmt.Sprintf("%.3f", *t)
}

// cured is what the four arms that use the library on the server have in common.
func cured(t *testing.T, c storm.Config, r storm.Result) {
	t.Helper()
	require.Equal(t, c.Agents, r.Back)
	require.Zero(t, r.Timeouts)
	require.Zero(t, r.Wasted)
	require.Zero(t, r.DBRefused)
}

// atTheBound holds an arm to the figures that the design promises.
func atTheBound(t *testing.T, c storm.Config, arm string) {
	t.Helper()
	r := inBubble(t, c, arm)
	cured(t, c, r)
	require.GreaterOrEqual(t, *r.T100, 1.0, "faster than the upstream")
	require.LessOrEqual(t, r.Goodput, 1.0)
	switch arm {
	case "gate":
		require.LessOrEqual(t, *r.T99, 1.05)
		require.Equal(t, 1.0, r.ArrivalsUp)
		require.Equal(t, 1.0, r.Attempts, "parked, not refused")
	case "pacer":
		require.LessOrEqual(t, *r.T99, 1.10)
		require.LessOrEqual(t, r.AttemptsUp, 2.0)
		require.Less(t, r.Peak, 10.0, "splayed")
	case "window":
		require.LessOrEqual(t, *r.T100, 1.15)
		require.Equal(t, 1.0, r.AttemptsUp)
	case "planned":
		require.LessOrEqual(t, *r.T100, 1.10)
		require.Equal(t, 1.0, r.Attempts)
	}
}

// livelocked is what an arm shows that never ends.
func livelocked(t *testing.T, c storm.Config, r storm.Result) {
	t.Helper()
	require.Less(t, r.Back, c.Agents*2/3)
	require.Nil(t, r.T99)
	require.Greater(t, r.Wasted, 1.0)
	require.Less(t, r.Goodput, 0.3)
}

var cures = []string{"gate", "pacer", "window", "planned"}

func TestCuresComeBackAtTheBound(t *testing.T) {
	t.Parallel()
	for _, arm := range cures {
		t.Run(arm, func(t *testing.T) { atTheBound(t, storming(), arm) })
	}
}

func TestCuresSurviveAWrongGuess(t *testing.T) {
	t.Parallel()
	for _, arm := range cures {
		for _, guess := range []float64{0.5, 2} {
			t.Run(fmt.Sprint(arm, guess), func(t *testing.T) {
				c := incident()
				c.Agents, c.Guess = 400, guess
				if raceEnabled {
					c.Agents = 200
				}
				r := inBubble(t, c, arm)
				cured(t, c, r)
				// Too low is slow where the clients believe it; too high costs nothing.
				require.LessOrEqual(t, *r.T100, max(1, 1/guess)*1.15)
				if guess < 1 && (arm == "window" || arm == "planned") {
					require.Greater(t, *r.T100, 1.7, "the announced window is the guess")
				}
			})
		}
	}
}

// tenThousand is a fleet far beyond the incident, with the same patience. Each arm
// of it takes seconds of real time.
func tenThousand(t *testing.T) storm.Config {
	t.Helper()
	if os.Getenv("CONNHYGIENE_LONG") == "" {
		t.Skip("set CONNHYGIENE_LONG=1 to play 10,000 agents")
	}
	c := incident()
	c.Agents, c.Capacity = 10_000, 1000
	return c
}

func TestTenThousandComeBackAtTheBound(t *testing.T) {
	t.Parallel()
	for _, arm := range cures {
		t.Run(arm, func(t *testing.T) { atTheBound(t, tenThousand(t), arm) })
	}
}

func TestTenThousandLivelock(t *testing.T) {
	for _, arm := range []string{"naive", "rate2"} {
		t.Run(arm, func(t *testing.T) {
			c := tenThousand(t)
			livelocked(t, c, inBubble(t, c, arm))
		})
	}
}

func TestNaiveLivelocks(t *testing.T) {
	t.Parallel()
	c := halved()
	r := inBubble(t, c, "naive")
	livelocked(t, c, r)
	require.Positive(t, r.DBRefused)
	require.Greater(t, r.Peak, 10.0)
	require.Greater(t, r.Attempts, 10.0)
}

func TestRateGuessedTwiceTooHighLivelocks(t *testing.T) {
	t.Parallel()
	c := halved()
	livelocked(t, c, inBubble(t, c, "rate2"))
}

func TestPMMConstantsEndTheIncidentButWaste(t *testing.T) {
	t.Parallel()
	c := incident()
	r := inBubble(t, c, "pmm")
	require.Equal(t, c.Agents, r.Back)
	require.Greater(t, *r.T99, 1.1)
	require.Positive(t, r.Timeouts)
	require.Positive(t, r.Wasted)
}

func TestClientsAloneComeBackLateIfAtAll(t *testing.T) {
	t.Parallel()
	c := incident()
	r := inBubble(t, c, "client")
	if r.T99 != nil {
		require.Greater(t, *r.T99, 1.5)
	}
	require.Greater(t, r.AttemptsUp, 2.5)
	require.Positive(t, r.Timeouts)
	require.Positive(t, r.Wasted)
}

func TestSeedRepeatsTheDraws(t *testing.T) {
	c := incident()
	c.Agents = 100
	play := func(seed uint64) []int {
		c.Seed = seed
		var attempts []int
		for _, bin := range inBubble(t, c, "planned").Timeline {
			attempts = append(attempts, bin.Attempts)
		}
		return attempts
	}
	require.Equal(t, play(1), play(1))
	require.NotEqual(t, play(1), play(2))
}

func TestTimelineAddsUp(t *testing.T) {
	c := incident()
	c.Agents = 200
	r := inBubble(t, c, "pacer")
	var sum storm.Bin
	for _, bin := range r.Timeline {
		sum.Attempts += bin.Attempts
		sum.Arrivals += bin.Arrivals
		sum.Back += bin.Back
	}
	require.Equal(t, c.Agents, sum.Back)
	require.InDelta(t, r.Attempts, float64(sum.Attempts)/float64(c.Agents), 1e-9)
	require.InDelta(t, r.ArrivalsUp, float64(sum.Arrivals)/float64(c.Agents), 1e-9)
}

// On real TCP the arms have to end and to count: the bounds are for a quiet
// machine, see examples/storm.
func TestArmsOnLoopback(t *testing.T) {
	t.Parallel()
	c := storm.Config{Agents: 40, Capacity: 40, Outage: 200 * time.Millisecond, Deadline: 20 * time.Second, Seed: 1}
	results := make([]storm.Result, len(storm.Arms()))
	var all errgroup.Group
	for i, arm := range storm.Arms() {
		all.Go(func() (err error) {
			results[i], err = storm.Run(t.Context(), c, arm, nil)
			return err
		})
	}
	require.NoError(t, all.Wait())
	for i, r := range results {
		require.Equal(t, storm.Arms()[i], r.Arm)
		require.False(t, r.Interrupted, r.Arm)
		require.Positive(t, r.Back, r.Arm)
		require.Positive(t, r.Attempts, r.Arm)
		require.Zero(t, r.Timeouts, r.Arm)
		require.Positive(t, r.DBOpened, r.Arm)
	}
}

func TestProgressGoesThroughThePhases(t *testing.T) {
	var phases []storm.Phase
	c := incident()
	c.Agents = 100
	synctest.Test(t, func(t *testing.T) {
		_, err := storm.Run(t.Context(), c, "gate", func(p storm.Progress) {
			if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
				phases = append(phases, p.Phase)
			}
		})
		require.NoError(t, err)
	})
	require.Contains(t, [][]storm.Phase{
		{storm.Connecting, storm.Down, storm.Recovering, storm.Ended},
		{storm.Down, storm.Recovering, storm.Ended},
	}, phases)
}

func TestInterruptionKeepsWhatIsKnown(t *testing.T) {
	c := incident()
	c.Agents = 200
	for _, after := range []time.Duration{0, time.Second, 4 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				r, err := storm.Run(ctx, c, "gate", nil)
				require.NoError(t, err)
				require.True(t, r.Interrupted)
				require.Less(t, r.Back, c.Agents)
			})
		})
	}
}

func TestDescriptorsAreCounted(t *testing.T) {
	c := incident()
	require.Equal(t, math.MaxInt, c.AtOnce(), "in memory")
	c.Memory, c.Agents = false, 1
	one := c.AtOnce()
	require.Positive(t, one)
	c.Agents = 10_000
	if one < math.MaxInt {
		require.LessOrEqual(t, c.AtOnce(), one/100, "two for each agent")
	}
	c.Agents = 500_000
	if c.AtOnce() > 0 {
		return // a process with a million of them
	}
	require.ErrorContains(t, c.Validate(), "file descriptors")
}

func TestValidateNamesTheField(t *testing.T) {
	change := func(f func(*storm.Config)) storm.Config {
		c := incident()
		f(&c)
		return c
	}
	for field, c := range map[string]storm.Config{
		"agents":   change(func(c *storm.Config) { c.Agents = -5 }),
		"capacity": change(func(c *storm.Config) { c.Capacity = 0 }),
		"outage":   change(func(c *storm.Config) { c.Outage = 10 * time.Minute }),
		"deadline": change(func(c *storm.Config) { c.Deadline = time.Millisecond }),
		"Deadline": change(func(c *storm.Config) { c.Deadline = time.Hour }),
		"guess":    change(func(c *storm.Config) { c.Guess = -1 }),
	} {
		t.Run(field, func(t *testing.T) {
			var wrong *storm.FieldError
			require.ErrorAs(t, c.Validate(), &wrong)
			require.Equal(t, strings.ToLower(field), wrong.Field)
		})
	}
	require.Error(t, change(func(c *storm.Config) { c.Capacity = math.NaN() }).Validate())
}

func TestBusyPortIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	c := incident()
	c.Memory, c.Address = false, taken.Addr().String()
	_, err = storm.Run(t.Context(), c, "naive", nil)
	var wrong *storm.FieldError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "addr", wrong.Field)
	require.Contains(t, err.Error(), "in use")
}

func TestUnknownArmIsNamed(t *testing.T) {
	_, err := storm.Run(t.Context(), incident(), "nice", nil)
	require.ErrorContains(t, err, "nice")
}

// The outage has to fit the fleet, not the thousand of it that are measured.
func TestMeasureALargeFleet(t *testing.T) {
	c := incident()
	c.Agents, c.Capacity, c.Memory = 5000, 1400, false
	if c.AtOnce() == 0 {
		t.Skip("this process may not have 10,000 file descriptors")
	}
	require.NoError(t, c.Validate())
	f, err := storm.Measure(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, 1000, f.Agents)
}

func TestMeasure(t *testing.T) {
	c := incident()
	c.Agents = 200
	f, err := storm.Measure(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, 200, f.Agents)
	require.Positive(t, f.Idle)
	require.Greater(t, f.Stream, f.Idle)
	if !raceEnabled {
		require.LessOrEqual(t, f.Idle, int64(25_000), "incident E: 62.5 KB")
	}
}
