// Package storm replays a reconnect storm: a server dies, and every agent that
// had a stream to it comes back at once, each return costing a lookup in an
// upstream that can do only so many a second.
//
// The experiment is real: TCP on loopback (or in-memory pipes in a
// testing/synctest bubble), net/http at both ends, database/sql under the
// lookups. An arm is one variant of the experiment: the library is used nowhere, by
// the clients, by the server, or by both. A lookup that its client has given up on is
// still executed to its end, as a real identity provider does; that turns a storm into
// a livelock.
//
// The unit of time is the bound Agents/Capacity: no arm can be back sooner, since
// each agent needs one lookup and the upstream does Capacity of them a second. An
// [Adversity] makes it harder; then [Config.Oracle] is the soonest that is possible.
package storm

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// Config describes one experiment. It is a plain value.
type Config struct {
	// Agents is how many agents lose their stream at once. At least 1.
	Agents int

	// Capacity is how many lookups the upstream finishes in a second. It must be positive.
	Capacity float64

	// Outage is how long the server stays dead. It must be positive and no longer than four
	// times the bound.
	Outage time.Duration

	// Deadline is how long the server's auth step waits for its lookup. It must
	// be longer than one lookup takes, see [Config.Service], and no longer than an
	// agent waits for an answer, a minute.
	Deadline time.Duration

	// Guess is what the server believes that its upstream can do, as a multiple of
	// Capacity: 2 is a guess twice too high. It scales whatever an arm configures
	// by capacity: limits, pools, announced windows. Zero means 1, a right guess.
	Guess float64

	// Seed is what the agents' delays are drawn from: the same seed, the same
	// draws, in whatever order a scheduler then lets the agents run.
	Seed uint64

	// Adversity is the weather. The zero value is fair; see [Config.Under], which
	// also sets the fields above as an adversity asks for.
	Adversity Adversity

	// Address is the server's public TCP address. Empty means a free port on
	// 127.0.0.1. It is not used with Memory.
	Address string

	// Memory replaces TCP by in-memory pipes, so that the whole experiment runs
	// in virtual time inside a testing/synctest bubble.
	Memory bool

	// Connector opens connections to the database under the upstream, which
	// must answer Query with one row. Nil means a fake database server that
	// takes 8ms for a connect and has room for 200 connections, or for those of
	// 3.3 seconds' lookups where that is more.
	Connector driver.Connector

	// Query is what one lookup runs; its only argument is the agent's token. It
	// should take [Config.Service]. Empty means a query for the fake server.
	Query string
}

// FieldError says which field of a [Config] cannot be, and what its limit is.
type FieldError struct {
	Field string // Field is the name of the field, in lower case, as the flag of examples/storm has it.
	Value any    // Value is what the field holds.
	Limit string // Limit says what it must be instead.
}

// Error names the field, its value and its limit.
func (e *FieldError) Error() string {
	return fmt.Sprintf("%s %v: %s", e.Field, e.Value, e.Limit)
}

// A guess beyond these is none.
const (
	minGuess = 0.1
	maxGuess = 10
)

// maxAgents keeps the arithmetic and the memory of one experiment within a machine.
const maxAgents = 1_000_000

// Validate reports the first field that cannot be, as a [*FieldError].
func (c Config) Validate() error {
	switch {
	case c.Agents < 1 || c.Agents > maxAgents:
		return &FieldError{"agents", c.Agents, fmt.Sprintf("must be from 1 to %d", maxAgents)}
	case !(c.Capacity >= 0.1 && c.Capacity <= 1e6):
		return &FieldError{"capacity", c.Capacity, "must be from 0.1 to 1000000 lookups a second"}
	case c.Outage <= 0:
		return &FieldError{"outage", c.Outage, "must be longer than 0s"}
	case c.Outage > 4*c.Bound():
		return &FieldError{"outage", c.Outage, fmt.Sprintf("must be at most %v, the horizon of 4 x agents/capacity", (4 * c.Bound()).Round(time.Millisecond))}
	case c.Deadline <= c.Service() || c.Deadline > patience:
		return &FieldError{"deadline", c.Deadline, fmt.Sprintf("must be longer than one lookup, %v, and at most %v, an agent's patience", c.Service().Round(time.Millisecond), patience)}
	case c.Guess != 0 && !(c.Guess >= minGuess && c.Guess <= maxGuess):
		return &FieldError{"guess", c.Guess, fmt.Sprintf("must be from %v to %v times the capacity", minGuess, maxGuess)}
	case c.Connector != nil && c.Query == "":
		return &FieldError{"query", `""`, "must be set when a connector is"}
	}
	if err := c.validateAdversity(); err != nil {
		return err
	}
	return c.validateDescriptors()
}

// validateDescriptors refuses an experiment that would run out of file
// descriptors half way.
func (c Config) validateDescriptors() error {
	if c.AtOnce() > 0 {
		return nil
	}
	limit := descriptorLimit()
	return &FieldError{"agents", c.Agents, fmt.Sprintf("must be at most %d: an arm needs %d file descriptors, this process may have %d (ulimit -n)",
		(max(limit, spareDescriptors)-spareDescriptors)/2, c.descriptors(), limit)}
}

// AtOnce is how many arms can be played at the same time within the file
// descriptors that this process may have.
func (c Config) AtOnce() int {
	if c.Memory {
		return math.MaxInt
	}
	return int(min(descriptorLimit()/c.descriptors(), math.MaxInt))
}

// descriptors is how many of them an arm needs: both ends of each agent's
// connection are in this process.
func (c Config) descriptors() uint64 { return 2*uint64(c.Agents) + spareDescriptors }

// spareDescriptors are for the listeners, the database and the program around it.
const spareDescriptors = 128

// Bound is the time in which the upstream can look all agents up once: no arm
// can have them back sooner after the server is up.
func (c Config) Bound() time.Duration {
	return time.Duration(float64(c.Agents) / c.Capacity * float64(time.Second))
}

// Horizon is how long an arm is given to have its agents back, counted from the
// moment the server is up: four times what an oracle needs, which is the bound in
// fair weather. An arm that needs longer has failed; most of those that do never end.
func (c Config) Horizon() time.Duration { return 4 * c.Oracle(1) }

// Workers is how many lookups the upstream executes at once. One lookup takes
// about 100ms, whatever the capacity.
func (c Config) Workers() int { return max(1, int(math.Round(c.Capacity/10))) }

// Service is how long one lookup takes.
func (c Config) Service() time.Duration {
	return time.Duration(float64(c.Workers()) / c.Capacity * float64(time.Second))
}

// draws are the random numbers of one agent.
func (c Config) draws(id int) *rand.Rand {
	return rand.New(rand.NewPCG(c.Seed, uint64(id)))
}

// guess is the capacity that the server believes in.
func (c Config) guess() float64 {
	if c.Guess == 0 {
		return c.Capacity
	}
	return c.Guess * c.Capacity
}

// InFlight is how many lookups the server wants under way at once: those that the
// upstream executes and as many that wait for it, so that it never idles and
// no login waits longer than one lookup takes. They are fewer if that queue would be
// longer than half the deadline, also for a server that guesses twice too high.
func (c Config) InFlight() int {
	return max(1, int(math.Round(c.guess()*min(2*c.Service(), c.Deadline/2).Seconds())))
}

// PacerPending is how many agents a pacer lets in: three eighths of what the upstream
// does within the deadline, so that a guess twice too high fits as well.
func (c Config) PacerPending() int {
	return max(1, int(math.Round(c.guess()*c.Deadline.Seconds()*3/8)))
}

// withDatabase fills in the fake database server where the caller has none.
func (c Config) withDatabase() Config {
	if c.Connector == nil {
		room := max(200, int(c.Capacity*200/60)) // as in the incident: enough for a queue that outlasts the deadline
		server := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, QueryTime: c.Service(), MaxConns: room}
		c.Connector, c.Query = server.Connector(), "SELECT 1 FROM tokens WHERE token = ?"
	}
	return c
}

// Progress is how far a running arm has come.
type Progress struct {
	Arm     string        // Arm is the name of the arm.
	Phase   Phase         // Phase is what the server is doing.
	Back    int           // Back is how many agents have their stream again.
	Agents  int           // Agents is how many there are.
	Elapsed time.Duration // Elapsed is the time since the server died; 0 before.
	End     time.Duration // End is when the arm is given up, on the same clock.
}

// Phase is what the server of a running arm is doing.
type Phase string

// The phases of an arm, in their order.
const (
	Connecting Phase = "connecting" // Connecting means the agents get their first streams.
	Down       Phase = "down"       // Down means the server is dead.
	Recovering Phase = "recovering" // Recovering means the server is up and the agents come back.
	Ended      Phase = "ended"      // Ended means the result is known.
)

// Run plays one arm to its end: until all agents are back, the horizon has
// passed or ctx ends, whose result holds what was known by then. It calls watch,
// unless nil, on its own goroutine about ten times a second. The error is a
// [*FieldError] or says why the experiment could not be set up.
func Run(ctx context.Context, c Config, arm string, watch func(Progress)) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, err
	}
	a, err := armNamed(arm)
	if err != nil {
		return Result{}, err
	}
	r, err := newRun(ctx, c.withDatabase(), a, watch)
	if err != nil && ctx.Err() != nil {
		return Result{Arm: arm, Interrupted: true}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("storm: %s: %w", arm, err)
	}
	defer r.close()
	if err := r.play(ctx); err != nil && ctx.Err() == nil {
		return Result{}, fmt.Errorf("storm: %s: %w", arm, err)
	}
	return r.result(ctx.Err() != nil), nil
}
