package storm

import (
	"slices"
	"strings"
	"time"
)

// Adversity is one kind of foul weather that an arm can be crossed with. It is a
// plain value; the zero value is fair weather. The fields can be combined.
type Adversity struct {
	// Name is the name that -adversity takes.
	Name string

	// Says is one line for a reader.
	Says string

	// For is how long a bad phase of the upstream lasts. Zero means that there is none.
	// It must not be negative, and the phase must end within four times the bound.
	For time.Duration

	// Middle moves the phase from the moment the server is up to half a bound later.
	Middle bool

	// Pace is the share of its speed that the upstream keeps during the phase: zero
	// means that it hangs, and goes on afterwards with what it was asked. It must
	// be from 0 to 1.
	Pace float64

	// Fails means that during the phase each lookup fails at once, without a verdict.
	Fails bool

	// Guess multiplies [Config.Guess]: 2 is a server that was configured for twice
	// the capacity that it finds. Zero means 1.
	Guess float64

	// Deaf is the share of the agents that ignore what the server says about when
	// to come back: hints, windows and announced restarts. It must be from 0 to 1.
	Deaf float64

	// Patience is how long an agent waits for the answer to one attempt. Zero means
	// a minute, which is also the most.
	Patience time.Duration

	// Crash means that the server dies a second time, unannounced, half a bound
	// after it is up, for as long as the first time. What it had learned is lost, and
	// so is every stream.
	Crash bool

	// Bound sets the capacity such that agents/capacity is this long. If that makes a
	// lookup longer, the deadline grows with it. Zero leaves both as they are.
	Bound time.Duration

	// Deadline is how long the server's auth step waits for its lookup, instead of
	// [Config.Deadline]. Zero leaves that as it is.
	Deadline time.Duration
}

// Adversities are all kinds of weather that the matrix plays, fair weather first.
func Adversities() []Adversity {
	return []Adversity{
		{Name: "none", Says: "fair weather"},
		{Name: "slow5", Says: "the upstream is 3 times slower for the first 5s", For: 5 * time.Second, Pace: 1.0 / 3},
		{Name: "slow10", Says: "the upstream is 3 times slower for the first 10s", For: 10 * time.Second, Pace: 1.0 / 3},
		{Name: "dip", Says: "the upstream is 10 times slower for 2s in the middle of the recovery", For: 2 * time.Second, Pace: 0.1, Middle: true},
		{Name: "hang", Says: "the upstream hangs for the first 10s", For: 10 * time.Second},
		{Name: "fail", Says: "the upstream fails at once, without a verdict, for the first 10s", For: 10 * time.Second, Fails: true},
		{Name: "half", Says: "the upstream has half the capacity that the server was configured for", Guess: 2},
		{Name: "twice", Says: "the upstream has twice the capacity that the server was configured for", Guess: 0.5},
		{Name: "deaf", Says: "20 % of the agents ignore hints, windows and notices", Deaf: 0.2},
		{Name: "hasty", Says: "agents wait 2s for an answer, not a minute", Patience: 2 * time.Second},
		{Name: "crash", Says: "the server dies again in the middle of the recovery", Crash: true},
		{Name: "bound10", Says: "the capacity is agents/10s", Bound: 10 * time.Second},
		{Name: "bound100", Says: "the capacity is agents/100s", Bound: 100 * time.Second},
		{Name: "bound1000", Says: "the capacity is agents/1000s", Bound: 1000 * time.Second},
		{Name: "lenient", Says: "the capacity is agents/100s, and the auth step waits a minute for its lookup", Bound: 100 * time.Second, Deadline: time.Minute},
	}
}

// AdversityNamed returns the adversity of that name. The error is a [*FieldError].
func AdversityNamed(name string) (Adversity, error) {
	all := Adversities()
	i := slices.IndexFunc(all, func(a Adversity) bool { return a.Name == name })
	if i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, a := range all {
		names = append(names, a.Name)
	}
	return Adversity{}, &FieldError{"adversity", name, "must be one of " + strings.Join(names, ",")}
}

// Under returns c in that weather: with the adversity set, and with the capacity,
// the deadline and the guess that it asks for.
func (c Config) Under(a Adversity) Config {
	c.Adversity = a
	if a.Bound > 0 {
		before := c.Service()
		c.Capacity = float64(c.Agents) / a.Bound.Seconds()
		c.Deadline = max(c.Deadline, time.Duration(float64(c.Deadline)*c.Service().Seconds()/before.Seconds()))
	}
	if a.Deadline > 0 {
		c.Deadline = a.Deadline
	}
	if a.Guess > 0 {
		c.Guess = c.guess() / c.Capacity * a.Guess
	}
	return c
}

// Foul reports whether the adversity is anything but fair weather.
func (a Adversity) Foul() bool {
	a.Name, a.Says = "", ""
	return a != Adversity{}
}

// Span is a stretch of time, counted from the moment the server is first up.
type Span struct {
	From time.Duration // From is when it begins.
	To   time.Duration // To is when it ends.
}

// BadPhase is when the upstream is slow, hangs or fails; the zero Span means never.
func (c Config) BadPhase() Span {
	a := c.Adversity
	if a.For <= 0 {
		return Span{}
	}
	var from time.Duration
	if a.Middle {
		from = c.Bound() / 2
	}
	return Span{from, from + a.For}
}

// SecondOutage is when the server is dead for the second time; the zero Span means
// never.
func (c Config) SecondOutage() Span {
	if !c.Adversity.Crash {
		return Span{}
	}
	return Span{c.Bound() / 2, c.Bound()/2 + c.Outage}
}

// validateAdversity reports the first thing about the weather that cannot be.
func (c Config) validateAdversity() error {
	a := c.Adversity
	var wrong string
	switch {
	case c.BadPhase().To > 4*c.Bound():
		wrong = "must be over within " + (4 * c.Bound()).Round(time.Millisecond).String() + " of the restart, the horizon of 4 x agents/capacity"
	case min(a.For, a.Patience, a.Bound, a.Deadline) < 0:
		wrong = "must have no negative times"
	case a.Patience > patience:
		wrong = "must leave agents a patience of at most " + patience.String()
	case !(a.Pace >= 0 && a.Pace <= 1):
		wrong = "must have a pace from 0 to 1"
	case !(a.Deaf >= 0 && a.Deaf <= 1):
		wrong = "must have a share of deaf agents from 0 to 1"
	case !(a.Guess >= 0 && a.Guess <= maxGuess):
		wrong = "must have a guess from 0 to 10"
	default:
		return nil
	}
	return &FieldError{"adversity", a.Name, wrong}
}

// deaf reports whether that agent ignores what the server says.
func (c Config) deaf(id int) bool { return float64(id%100) < 100*c.Adversity.Deaf }

// patience is how long an agent waits for one answer.
func (c Config) patience() time.Duration {
	if c.Adversity.Patience > 0 {
		return c.Adversity.Patience
	}
	return patience
}
