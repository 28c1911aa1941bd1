package storm

import (
	"database/sql"
	"database/sql/driver"
	"slices"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/listener"
)

// arm is one way to meet the storm.
type arm struct {
	name string
	// says is one line for the reader of the table.
	says string
	// agent makes a client.
	agent func(id int, r *run) *agent
	// pool is the upstream's.
	pool func(driver.Connector, Config) (*sql.DB, error)
	// auth makes the auth step of a server that has just started: its caches are cold.
	auth func(Config, *upstream) authStep
	// limits are the public port's; nil for none.
	limits func(Config) listener.Limits
	// early means bind early, accept late: clients wait in the kernel's queue for the last
	// three quarters of the outage instead of being refused.
	early bool
	// window means that the agents are told, while they are connected, how long
	// the fleet needs to come back.
	window bool
	// planned means that the agents are told before the server goes.
	planned bool
}

// Arms are the names of all arms, in the order of the table.
func Arms() []string {
	var names []string
	for _, a := range arms() {
		names = append(names, a.name)
	}
	return names
}

// Describe is one line about the arm of that name, empty if there is none.
func Describe(name string) string {
	a, err := armNamed(name)
	if err != nil {
		return ""
	}
	return a.says
}

func armNamed(name string) (arm, error) {
	all := arms()
	i := slices.IndexFunc(all, func(a arm) bool { return a.name == name })
	if i < 0 {
		return arm{}, &FieldError{"arms", name, "must be of " + strings.Join(Arms(), ",")}
	}
	return all[i], nil
}

func arms() []arm {
	return []arm{
		{
			name: "naive", says: "Go's defaults and a common loop: unlimited pool, jitter of 25 %, failures forgotten on connect",
			agent: plainAgent(0.25), pool: unlimitedPool, auth: naiveAuth,
		},
		{
			name: "pmm", says: "the constants that ended the incident: jitter of 50 %, five times the deadline, pool of 100/25",
			agent: plainAgent(0.5), pool: grafanaPool, auth: pmmAuth,
		},
		{
			name: "client", says: "the library on the clients only: backoff with a splay of 10s, transport",
			agent: libraryAgent(15*time.Second, 10*time.Second), pool: unlimitedPool, auth: naiveAuth,
		},
		{
			name: "rate2", says: "the trap: a rate limit on accept, guessed twice too high, and nothing else",
			agent: plainAgent(0.25), pool: unlimitedPool, auth: naiveAuth, limits: guessedRate,
		},
		{
			name: "gate", says: "the library on the server only: parked gate, MaxPending, auth cache, sized pool",
			agent: plainAgent(0.25), pool: authPool, auth: newCachedAuth, limits: patientLimit, early: true,
		},
		{
			name: "pacer", says: "the library on both: the server says when to come back, the clients obey",
			agent: quickAgent, pool: authPool, auth: newPacedAuth,
		},
		{
			name: "cache", says: "the auth cache only: ttlcache with its defaults before the upstream, and nothing before it",
			agent: plainAgent(0.25), pool: cachePool, auth: newDefaultAuth,
		},
		{
			name: "window", says: "the library on both: the server announced how long its fleet needs, while it was connected",
			agent: libraryAgent(15*time.Second, 0), pool: authPool, auth: newCachedAuth, limits: pendingLimit, window: true,
		},
		{
			name: "planned", says: "the library on both, and the restart was announced",
			agent: libraryAgent(15*time.Second, 0), pool: authPool, auth: newCachedAuth, limits: pendingLimit, early: true, planned: true,
		},
	}
}

func plainAgent(jitter float64) func(int, *run) *agent {
	return func(id int, r *run) *agent { return newPlainAgent(id, r, jitter) }
}

// libraryAgent has a hard ceiling of its delays and spreads the attempt after a
// loss. Its first stream counts as stable at once: it stands for one that lived
// for days.
func libraryAgent(most, splay time.Duration) func(int, *run) *agent {
	return func(id int, r *run) *agent {
		return newLibraryAgent(id, r, &backoff.Backoff{
			Policy:      backoff.Policy{Min: time.Second, Max: most, MaxHint: maxGuess * r.config.Bound()},
			Splay:       splay,
			StableAfter: time.Nanosecond,
			Rand:        r.config.draws(id).Float64,
		})
	}
}

// quickAgent obeys hints, so that short delays do not harm the server: at most
// 5s after a splay of 10s, and all shorter than its fleet needs, or the server
// would wait for its agents.
func quickAgent(id int, r *run) *agent {
	bound := r.config.Bound()
	return libraryAgent(min(5*time.Second, bound*3/4), min(10*time.Second, bound*9/10))(id, r)
}

// pendingLimit measures the server instead of guessing its rate.
func pendingLimit(c Config) listener.Limits {
	return listener.Limits{MaxPending: c.InFlight()}
}

// patientLimit is for agents that all wait in line: it knows when the first of them
// leave, if any do. 10,000 agents with a patience of 2s never come back without it.
func patientLimit(c Config) listener.Limits {
	l := pendingLimit(c)
	if c.patience() < c.Outage+c.Bound() { // else no agent leaves before its turn
		l.Patience = c.patience()
	}
	return l
}

// guessedRate is a limit without feedback. Patience is the agents', so that the
// backlog is as long as a naive server's.
func guessedRate(c Config) listener.Limits {
	return listener.Limits{Rate: 2 * c.guess(), Patience: patience}
}
