package storm

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// authStep is what a server does with an agent's token. Its String is what it
// has counted, for the reader of the table; it may be empty.
type authStep interface {
	check(ctx context.Context, token string) error
	fmt.Stringer
}

// plainAuth asks the upstream for each attempt. It has no cache: keys are unique
// and the process is new, so none would ever hit; the verdict of a lookup that
// came too late is lost.
type plainAuth struct {
	upstream *upstream
	deadline time.Duration
}

func naiveAuth(c Config, u *upstream) authStep { return plainAuth{u, c.Deadline} }

// pmmAuth has five times the deadline, as PMM had after the incident.
func pmmAuth(c Config, u *upstream) authStep { return plainAuth{u, 5 * c.Deadline} }

func (a plainAuth) check(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, a.deadline)
	defer cancel()
	return a.upstream.lookup(ctx, token)
}

func (a plainAuth) String() string { return "" }

// cachedAuth remembers verdicts and bounds lookups over all agents. Its loads
// outlive the callers that gave up, so that a late verdict serves the retry.
type cachedAuth struct {
	cache    *ttlcache.Cache[string, struct{}]
	deadline time.Duration
}

func newCachedAuth(c Config, u *upstream) authStep {
	load := func(ctx context.Context, token string) (struct{}, error) {
		return struct{}{}, u.lookup(ctx, token)
	}
	return cachedAuth{deadline: c.Deadline, cache: ttlcache.New(load, ttlcache.Config[string, struct{}]{
		TTL:         time.Minute, // more than the longest delay of a client and the deadline
		MaxLoads:    c.InFlight(),
		LoadTimeout: 10 * c.Deadline,
	})}
}

// newDefaultAuth is the cache as it comes. It has no life of an entry by default, so
// that is the minute of the others.
func newDefaultAuth(c Config, u *upstream) authStep {
	load := func(ctx context.Context, token string) (struct{}, error) {
		return struct{}{}, u.lookup(ctx, token)
	}
	return cachedAuth{deadline: c.Deadline, cache: ttlcache.New(load, ttlcache.Config[string, struct{}]{TTL: time.Minute})}
}

func (a cachedAuth) check(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, a.deadline)
	defer cancel()
	_, err := a.cache.Get(ctx, token)
	if code, again := a.cache.Status(err); code == http.StatusServiceUnavailable {
		return backoff.After(again, err) // by then a late verdict is in the cache, as a rule
	}
	return err
}

func (a cachedAuth) String() string {
	s := a.cache.Stats()
	return fmt.Sprintf("cache: %d loads, %d hits, %d joined, %d shed", s.Loads, s.Hits, s.Joined, s.Shed)
}

// pacedAuth lets in what can be answered within the deadline, and tells all other
// agents when to come back.
type pacedAuth struct {
	authStep
	pacer *backoff.Pacer
}

func newPacedAuth(c Config, u *upstream) authStep {
	return pacedAuth{newCachedAuth(c, u), &backoff.Pacer{MaxPending: c.PacerPending(), Rate: c.guess()}}
}

func (a pacedAuth) check(ctx context.Context, token string) error {
	slot, err := a.pacer.Enter()
	if err != nil {
		return err
	}
	defer slot.Cancel() // does nothing after Done
	if err := a.authStep.check(ctx, token); err != nil {
		return err
	}
	slot.Done()
	return nil
}

func (a pacedAuth) String() string {
	s := a.pacer.Stats()
	return fmt.Sprintf("pacer: %d entered, %d turned away, %.0f/s measured; %v", s.Entered, s.TurnedAway, s.Rate, a.authStep)
}

// window is what a server announces to its fleet while it is connected. Nothing
// has been measured then in this experiment, so it is the guess that counts.
func (c Config) window() time.Duration {
	return (&backoff.Pacer{Rate: c.guess()}).Window(c.Agents)
}

// known is the auth step of a server that knows all agents.
type known struct{}

func (known) check(context.Context, string) error { return nil }
func (known) String() string                      { return "" }
