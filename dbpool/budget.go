package dbpool

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// ThrashFloor is the number of a pooler's connections for each tenant below which
// it closes one tenant's to serve another all the time. Mattermost found it in
// production, where disconnections all but ended when each database of PgBouncer
// had 2.5 connections for each of its tenants (50 for 20, 125 for 50). Measured
// here with 15 tenants of 4 clients on PgBouncer 1.18: 270 sessions in 1000 queries
// at 1.3 connections a tenant, 147 at 2.0, 50 at 2.5, 11 at 3.0, 5 at 4.0; mean
// latency 30, 10, 6, 5 and 5 ms.
const ThrashFloor = 2.5

// Budget is the number of connections that a server accepts, and the processes and pools
// that share them. Its methods return how large a pool may be, so that the sum of all
// pools stays below the server's limit, also during a rollout, and also if the dials of
// all pools are abandoned at once.
type Budget struct {
	// MaxConnections is the limit of the server, at least 1: PostgreSQL's and MySQL's
	// max_connections, see [ServerBudget]. Of PgBouncer it is max_client_conn in
	// transaction mode, default_pool_size in session mode, and for PerTenant
	// max_db_connections.
	MaxConnections int

	// Reserved is how many of them are not for this service: superusers, people,
	// monitoring, other services. It must not be negative.
	Reserved int

	// Replicas is how many processes of this service there are. Zero means 1.
	Replicas int

	// Surge is how many more of them there are during a rollout, as a share of
	// Replicas, rounded up: 0.25 is Kubernetes' default maxSurge. Zero: none.
	Surge float64

	// Parallel is the [Dial] setting of each pool, which is deducted for each pool,
	// since that many abandoned connections may exist beside MaxOpen. Zero means 4,
	// below zero none. A small budget wants a Dial.Parallel of 1 or 2.
	Parallel int
}

// Share is the claim of one pool in a [Budget].
type Share struct {
	// Name is the pool's name, which no other share may have.
	Name string

	// Weight is the pool's part of the connections, relative to the other weights.
	// Zero means 1. It must not be negative or above 1e100.
	Weight float64

	// Min is the least number of connections with which the pool is of use. Zero
	// means 1.
	Min int

	// Max is the largest number of connections that the pool can use. Zero: no
	// limit.
	Max int
}

// maxSize is above the limits of all servers; beyond it is a mistake, which must
// not become an overflow.
const maxSize = 1 << 24

// maxWeight keeps the sum of any number of weights finite.
const maxWeight = 1e100

// PerProcess returns the MaxOpen of a process's only pool. The error is a
// [*FieldError] for a field that makes no sense, or for MaxConnections if nothing is
// left for a pool.
func (b Budget) PerProcess() (int, error) {
	sizes, err := b.Split(Share{Name: "each process's pool"})
	return sizes["each process's pool"], err
}

// Split returns the MaxOpen of each of a process's pools, by name: its connections in
// proportion to the weights, within Min and Max, in whole connections by the method
// of largest remainders. Pools of their own for internal work, for the API and for
// agents (bulkheads) keep a storm of logins in one from taking the connections of the
// others, which was the second outage at percona/pmm#5821.
//
// The sizes never add up to more than there is. The error is a [*FieldError] for a
// field that makes no sense, for two shares with the same name, or, if there is less
// than the sum of all Min, for MaxConnections, naming all pools and the share that each would get. To
// check pools of a given size, give it as both Min and Max.
func (b Budget) Split(shares ...Share) (map[string]int, error) {
	if err := b.validate(); err != nil {
		return nil, err
	}
	shares, err := resolve(shares)
	if err != nil {
		return nil, err
	}
	left := int64(b.forProcess()) - int64(len(shares))*int64(b.parallel())
	var need int64
	for _, s := range shares {
		need += int64(s.Min)
	}
	if need > left {
		return nil, b.tooSmall(shares, need, left)
	}
	sizes := make(map[string]int, len(shares))
	for i, n := range apportion(int(left), shares) {
		sizes[shares[i].Name] = n
	}
	return sizes, nil
}

// PerTenant returns how many of the server's connections there are for each of so
// many tenants of a pooler, and reports whether that is below [ThrashFloor]. Here
// MaxConnections is the pooler's limit (max_db_connections of PgBouncer); replicas
// and dials stand in front of the pooler and do not count. Without tenants, which is
// zero or less, there is no limit for each: the result is +Inf and false.
func (b Budget) PerTenant(tenants int) (per float64, thrash bool) {
	if tenants <= 0 {
		return math.Inf(1), false
	}
	per = (float64(b.MaxConnections) - float64(b.Reserved)) / float64(tenants)
	return per, per < ThrashFloor
}

// ForLoad returns how many connections serve rate queries a second which hold a
// connection for mean each: by Little's law rate*mean are in use at once on
// average; headroom is for the times above the average, 0.3 for 30 % more. It is at
// least 1 and at most [math.MaxInt32]. A Budget says whether the server has that
// many. An argument that is negative or not a number counts as zero.
func ForLoad(rate float64, mean time.Duration, headroom float64) int {
	inUse := positive(positive(rate) * positive(mean.Seconds())) // infinity times 0 is no number
	n := positive(inUse * (1 + positive(headroom)))
	// The tiny part keeps 100/s for 20 ms from being 2.0000000000000004 and so 3.
	return int(min(max(math.Ceil(n-1e-9), 1), math.MaxInt32))
}

// positive returns v, and 0 for what is below or not a number.
func positive(v float64) float64 {
	if v > 0 {
		return v
	}
	return 0
}

// validate reports the first field that makes no sense.
func (b Budget) validate() error {
	switch {
	case b.MaxConnections < 1 || b.MaxConnections > maxSize:
		return &FieldError{Field: "MaxConnections", Value: b.MaxConnections, Reason: fmt.Sprintf("must be from 1 to %d", maxSize)}
	case b.Reserved < 0 || b.Reserved > maxSize:
		return &FieldError{Field: "Reserved", Value: b.Reserved, Reason: fmt.Sprintf("must be from 0 to %d", maxSize)}
	case b.Replicas < 0 || b.Replicas > maxSize:
		return &FieldError{Field: "Replicas", Value: b.Replicas, Reason: fmt.Sprintf("must be from 0 to %d", maxSize)}
	case !(b.Surge >= 0 && b.Surge <= maxSize):
		return &FieldError{Field: "Surge", Value: b.Surge, Reason: fmt.Sprintf("must be from 0 to %d", maxSize)}
	case b.Parallel > maxSize:
		return &FieldError{Field: "Parallel", Value: b.Parallel, Reason: fmt.Sprintf("must be at most %d", maxSize)}
	}
	return nil
}

// resolve returns the shares with their defaults, or what is wrong with one.
func resolve(shares []Share) ([]Share, error) {
	if len(shares) == 0 {
		return nil, &FieldError{Field: "shares", Reason: "must not be empty"}
	}
	resolved := make([]Share, len(shares))
	seen := make(map[string]bool, len(shares))
	for i, s := range shares {
		if seen[s.Name] {
			return nil, &FieldError{Field: "Name", Value: s.Name, Reason: "two shares have it"}
		}
		seen[s.Name] = true
		if s.Weight == 0 {
			s.Weight = 1
		}
		if s.Min == 0 {
			s.Min = 1
		}
		if s.Max == 0 {
			s.Max = maxSize
		}
		if err := s.validate(); err != nil {
			return nil, err
		}
		resolved[i] = s
	}
	return resolved, nil
}

// validate reports the first field of a resolved share that makes no sense.
func (s Share) validate() error {
	switch {
	case s.Name == "":
		return &FieldError{Field: "Name", Value: s.Name, Reason: "a share must have one"}
	case !(s.Weight > 0 && s.Weight <= maxWeight):
		return &FieldError{Field: "Weight of " + s.Name, Value: s.Weight, Reason: fmt.Sprintf("must be from 0 to %g", maxWeight)}
	case s.Min < 0 || s.Min > maxSize:
		return &FieldError{Field: "Min of " + s.Name, Value: s.Min, Reason: fmt.Sprintf("must be from 0 to %d", maxSize)}
	case s.Max < s.Min || s.Max > maxSize:
		return &FieldError{Field: "Max of " + s.Name, Value: s.Max, Reason: fmt.Sprintf("must be from Min, which is %d, to %d", s.Min, maxSize)}
	}
	return nil
}

// parallel returns how many connections each pool may have beside MaxOpen.
func (b Budget) parallel() int {
	if b.Parallel == 0 {
		return defaultParallel
	}
	return max(0, b.Parallel)
}

// processes returns how many processes there are at the height of a rollout.
func (b Budget) processes() int {
	replicas := max(1, b.Replicas)
	// The tiny part keeps 7 % of 100 from being 7.000000000000001 and so 8.
	return replicas + int(min(math.Ceil(float64(replicas)*b.Surge*(1-1e-12)), maxSize))
}

// forProcess returns how many connections a process may have, all in all.
func (b Budget) forProcess() int {
	return max(0, b.MaxConnections-b.Reserved) / b.processes()
}

// tooSmall says what each pool gets of its Min when they are served in order. All
// are named: which of them to shrink is for the reader to decide.
func (b Budget) tooSmall(shares []Share, need, left int64) error {
	got := make([]string, len(shares))
	room := max(0, left)
	for i, s := range shares {
		n := min(room, int64(s.Min))
		room -= n
		got[i] = fmt.Sprintf("%s gets %d of its Min %d", s.Name, n, s.Min)
	}
	return &FieldError{
		Field: "MaxConnections", Value: b.MaxConnections,
		Reason: fmt.Sprintf("less %d reserved, over %d processes, less %d for dials leaves %d connections where %d are needed: %s",
			b.Reserved, b.processes(), int64(len(shares))*int64(b.parallel()), left, need, strings.Join(got, ", ")),
	}
}
