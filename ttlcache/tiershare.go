package ttlcache

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tierTimeout = 50 * time.Millisecond  // of a lookup or a Put that has a place
	tierPlaces  = 64                     // lookups and Puts at once
	tierWait    = 500 * time.Millisecond // of a lookup for a place; a Put waits within its time-out
	tierQueue   = 4096                   // lookups that wait for a place
	tierGrace   = time.Second            // after New, in which a lookup waits for the first heartbeat
	beatAge     = 500 * time.Millisecond // what a heartbeat may leave out, see Tier.Follow
	aliveFor    = MaxLag - beatAge       // after a heartbeat
)

// sharing is what a cache with a [Tier] has and one without has not.
type sharing[V any] struct {
	tier    Tier
	codec   Codec[V]
	sealer  sealer
	tags    func(V) []string
	hasher  *hasher  // of tags
	denied  [32]byte // the tag of denials
	now     func() instant
	places  chan struct{}
	waiting atomic.Int64 // for a place
	breaker breaker
	fences  positions
	outbox  outbox

	beat  atomic.Int64  // the instant of the last heartbeat; before the first aliveFor ago
	heard chan struct{} // closed by the first heartbeat
	once  sync.Once

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	mu   sync.Mutex // held to begin work, so that none begins after Close
	work sync.WaitGroup
}

func newSharing[C, V any](c Config[C, V], now func() instant) *sharing[V] {
	s := &sharing[V]{
		tier: c.Tier, codec: c.Codec, tags: c.Tags, now: now,
		sealer: sealer{derive(c.Secret, "seal")},
		hasher: newHasherWith(derive(c.Secret, "tag")),
		denied: [32]byte(derive(c.Secret, "denied")),
		places: make(chan struct{}, tierPlaces),
		fences: newPositions(),
		heard:  make(chan struct{}),
	}
	s.beat.Store(int64(-aliveFor))
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// begin runs f on a goroutine that Close waits for, unless that has been called.
func (s *sharing[V]) begin(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		s.work.Go(f)
	}
}

// alive reports whether the revocations of other caches reach this one.
func (s *sharing[V]) alive(now instant) bool { return now < instant(s.beat.Load()).add(aliveFor) }

// beaten notes a heartbeat.
func (s *sharing[V]) beaten() {
	s.beat.Store(int64(s.now()))
	s.once.Do(func() { close(s.heard) })
}

// wanted reports whether it makes sense to ask the tier now.
func (s *sharing[V]) wanted() bool {
	if s == nil || s.ctx.Err() != nil {
		return false
	}
	now := s.now()
	return (s.alive(now) || s.starting(now)) && s.breaker.closed(now)
}

// starting reports whether the first heartbeat may be on its way.
func (s *sharing[V]) starting(now instant) bool {
	select {
	case <-s.heard:
		return false
	default:
		return now < instant(tierGrace)
	}
}

// enter waits for a place, at the start also for the first heartbeat. It reports whether
// the tier may be asked. A crowd that waits for a tier that works is served by it in a
// fraction of the time that the authenticator would need; once the tier has failed too often
// the crowd waits no longer.
func (s *sharing[V]) enter(ctx context.Context) bool {
	if !s.hasHeard(ctx) {
		return false
	}
	select {
	case s.places <- struct{}{}:
		return true
	default:
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > tierQueue {
		return false
	}
	enough := time.NewTimer(tierWait)
	defer enough.Stop()
	select {
	case s.places <- struct{}{}:
		return true
	case <-s.breaker.opens():
	case <-enough.C: // those who have the places do not get on
		s.breaker.note(true, s.now())
	case <-ctx.Done():
	}
	return false
}

// hasHeard waits for the first heartbeat as long as a lookup may take.
func (s *sharing[V]) hasHeard(ctx context.Context) bool {
	select {
	case <-s.heard:
		return true
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, tierTimeout)
	defer cancel()
	select {
	case <-s.heard:
		return true
	case <-ctx.Done():
		return false
	}
}

// within waits for a place, and calls f for at most tierTimeout, be it that f ignores its
// context. The place stays taken until f returns. It reports false if f was not called.
func (s *sharing[V]) within(ctx context.Context, f func(context.Context) error) (called bool, err error) {
	if !s.enter(ctx) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tierTimeout)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		defer func() { <-s.places }()
		done <- guard(func() error { return f(ctx) })
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done: // in time after all
		default:
			err = contextError(ctx)
		}
	}
	return true, err
}

// guard returns a panic of f, which is code of others, as an error.
func guard(f func() error) (err error) {
	returned := false
	defer func() {
		if r := recover(); r != nil {
			err = newPanicError(r)
		} else if !returned {
			err = errGoexit
		}
	}()
	err = f()
	returned = true
	return err
}

// A breaker keeps callers from a tier that fails.
type breaker struct {
	mu      sync.Mutex // guards the fields below
	failed  int        // in a row
	until   instant    // nobody asks
	wait    time.Duration
	probing bool          // the one that may ask after a pause
	opened  chan struct{} // closed when it opens, or again; made when it is needed
}

const (
	breakAfter   = 5 // failures in a row
	breakFor     = 250 * time.Millisecond
	breakForMost = 4 * time.Second
)

// closed reports whether one may ask. After a pause one caller may.
func (b *breaker) closed(now instant) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < breakAfter {
		return true
	}
	if now < b.until {
		return false
	}
	b.until, b.probing = now.add(b.wait), true
	return true
}

// opens returns a channel that is closed when the next failure is one too many.
func (b *breaker) opens() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened == nil {
		b.opened = make(chan struct{})
	}
	return b.opened
}

func (b *breaker) note(failed bool, now instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !failed {
		b.failed, b.wait, b.probing = 0, 0, false
		return
	}
	b.failed++
	if b.failed != breakAfter && !b.probing { // of those under way when it opened each fails as well
		return
	}
	b.failed, b.probing = max(b.failed, breakAfter), false
	b.wait = min(max(2*b.wait, breakFor), breakForMost)
	b.until = now.add(b.wait)
	if b.opened != nil {
		close(b.opened)
		b.opened = nil
	}
}

// positions are the last revocations by where they are in the log. A digest is known by
// some of its bits: one that shares them with a revoked one is asked for once more.
type positions struct {
	mu         *sync.Mutex // guards the fields below
	all        uint64
	told       uint64 // the last one
	keys, tags []uint64
}

const positionSlots = 1 << 14

func newPositions() positions {
	return positions{mu: new(sync.Mutex), keys: make([]uint64, positionSlots), tags: make([]uint64, positionSlots)}
}

func slot(d [32]byte) int { return (int(d[30])<<8 | int(d[31])) % positionSlots }

// add notes what the log says.
func (p *positions) add(r Revocation, at uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.All { // a log that begins anew may do so at a lower position
		p.all = max(p.all, p.told, at)
	}
	p.told = max(p.told, at)
	for _, k := range r.Keys {
		p.keys[slot(k)] = max(p.keys[slot(k)], at)
	}
	for _, t := range r.Tags {
		p.tags[slot(t)] = max(p.tags[slot(t)], at)
	}
}

// stop reports whether a verdict that was asked for after that position has been revoked
// since.
func (p *positions) stop(at uint64, key digest, tags [][32]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at < p.all || at < p.keys[slot(key)] {
		return true
	}
	for _, t := range tags {
		if at < p.tags[slot(t)] {
			return true
		}
	}
	return false
}
