package ttlcachetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// ErrDown is the error of each operation of a [Tier] that is down.
var ErrDown = errors.New("ttlcachetest: the tier is down")

// A Tier is a ttlcache.Tier in memory, with the failures of a real one: it is slow, it is
// down, it loses its memory, and with a [Link] for each cache, one of them is cut off or
// reads from a copy that lags behind. Its time is that of package time: it works in a
// testing/synctest bubble. All methods may be called from any number of goroutines.
type Tier struct {
	mu      sync.Mutex // guards the fields below
	memory  memory
	at      uint64        // the last position given
	era     int           // counts the losses of memory
	born    uint64        // the position at which the era began
	changed chan struct{} // closed when a follower has something to do
	closed  bool
	down    bool
	delay   time.Duration
	faults  Fault
	counts  TierStats
}

// memory is what a loss of memory takes.
type memory struct {
	values map[[32]byte]value
	leases map[[32]byte]uint64
	log    []logged
}

type value struct {
	sealed []byte
	end    time.Time
}

type logged struct {
	r  ttlcache.Revocation
	at uint64
}

// A Fault is a mistake in a [Tier], for tests that must find it. Faults can be added.
type Fault int

const (
	NoLease   Fault = 1 << iota // NoLease: leases are good for ever.
	FromZero                    // FromZero: after a loss of memory positions begin at zero again.
	FalseBeat                   // FalseBeat: heartbeats come from a tier that is cut off.
)

// TierStats are the counts of a [Tier].
type TierStats struct {
	Gets     uint64 // Gets are calls of Get that were answered.
	Hits     uint64 // Hits are the Gets that found something.
	Puts     uint64 // Puts are the calls of Put that kept something.
	Refused  uint64 // Refused are the calls of Put without a lease.
	Revoked  uint64 // Revoked are calls of Revoke that were carried out.
	Flushed  uint64 // Flushed counts the losses of memory.
	Kept     int    // Kept are values that are kept now, expired ones among them.
	Position uint64 // Position is the last one given.
}

// heartbeat is how often a follower hears that nothing has happened.
const heartbeat = 250 * time.Millisecond

// NewTier returns a Tier that keeps nothing yet.
func NewTier() *Tier {
	t := &Tier{changed: make(chan struct{})}
	t.at = uint64(time.Now().UnixMicro()) // not zero: a lease of a former memory must be none
	t.forgetLocked()
	return t
}

// Get implements ttlcache.Tier.
func (t *Tier) Get(ctx context.Context, key [32]byte) ([]byte, time.Duration, uint64, error) {
	if err := t.enter(ctx); err != nil {
		return nil, 0, 0, err
	}
	defer t.mu.Unlock()
	return t.getLocked(key, t.memory.values)
}

func (t *Tier) getLocked(key [32]byte, values map[[32]byte]value) ([]byte, time.Duration, uint64, error) {
	t.counts.Gets++
	lease, ok := t.memory.leases[key]
	if t.faults&NoLease != 0 {
		lease = 1 << 62
	} else if !ok {
		lease = t.at
		t.memory.leases[key] = lease
	}
	v, ok := values[key]
	left := time.Until(v.end)
	if !ok || left <= 0 {
		return nil, 0, lease, nil
	}
	t.counts.Hits++
	return append([]byte(nil), v.sealed...), left, lease, nil
}

// Put implements ttlcache.Tier.
func (t *Tier) Put(ctx context.Context, key [32]byte, lease uint64, sealed []byte, left time.Duration) error {
	end := time.Now().Add(left) // being slow does not make it live longer
	if err := t.enter(ctx); err != nil {
		return err
	}
	defer t.mu.Unlock()
	if given, ok := t.memory.leases[key]; (!ok || given != lease) && t.faults&NoLease == 0 {
		t.counts.Refused++
		return ttlcache.ErrNoLease
	}
	delete(t.memory.leases, key)
	if time.Until(end) > 0 {
		t.counts.Puts++
		t.memory.values[key] = value{append([]byte(nil), sealed...), end}
	}
	return nil
}

// Revoke implements ttlcache.Tier.
func (t *Tier) Revoke(ctx context.Context, r ttlcache.Revocation) error {
	if err := t.enter(ctx); err != nil {
		return err
	}
	defer t.mu.Unlock()
	t.counts.Revoked++
	for _, k := range r.Keys {
		delete(t.memory.values, k)
		delete(t.memory.leases, k)
	}
	if r.All {
		clear(t.memory.values)
		clear(t.memory.leases)
	}
	t.at++
	t.memory.log = append(t.memory.log, logged{r, t.at})
	t.wakeLocked()
	return nil
}

// Follow implements ttlcache.Tier.
func (t *Tier) Follow(ctx context.Context, f func(ttlcache.Revocation, uint64)) error {
	return t.follow(ctx, func() bool { return false }, f)
}

// follow is Follow of a follower that is out of reach while away says so, under the lock.
func (t *Tier) follow(ctx context.Context, away func() bool, f func(ttlcache.Revocation, uint64)) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	era, next := -1, 0
	for {
		t.mu.Lock()
		closed, down, cut, changed := t.closed, t.down, away(), t.changed
		var news []logged
		if !cut && !down {
			if era != t.era {
				era, next = t.era, 0
				news = append(news, logged{ttlcache.Revocation{All: true}, t.born})
			}
			news = append(news, t.memory.log[next:]...)
			next = len(t.memory.log)
		}
		alive := !cut && !down || t.faults&FalseBeat != 0
		at := t.at
		t.mu.Unlock()
		switch {
		case closed:
			return nil
		case down && !alive:
			return ErrDown
		}
		for _, e := range news {
			f(e.r, e.at)
		}
		if alive {
			f(ttlcache.Revocation{}, at)
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Delay makes each operation take d.
func (t *Tier) Delay(d time.Duration) { t.set(func() { t.delay = d }) }

// Down makes each operation fail with [ErrDown], or no longer.
func (t *Tier) Down(down bool) { t.set(func() { t.down = down }) }

// Flush makes the tier lose its memory, the log and the leases among it.
func (t *Tier) Flush() {
	t.set(func() {
		if t.faults&FromZero != 0 {
			t.at = 0
		} else {
			t.at++
		}
		t.counts.Flushed++
		t.forgetLocked()
	})
}

// Evict makes the tier drop the value and the lease under each key, as a store does that
// is short of memory.
func (t *Tier) Evict() {
	t.set(func() {
		clear(t.memory.values)
		clear(t.memory.leases)
	})
}

// Break puts faults into the tier.
func (t *Tier) Break(faults Fault) { t.set(func() { t.faults = faults }) }

// Tamper lets change alter the kept bytes, as an attacker could that may write to the
// store. A key that it deletes is gone, and one that it adds is kept for a minute.
func (t *Tier) Tamper(change func(kept map[[32]byte][]byte)) {
	t.set(func() {
		kept := make(map[[32]byte][]byte, len(t.memory.values))
		for k, v := range t.memory.values {
			kept[k] = v.sealed
		}
		change(kept)
		old := t.memory.values
		t.memory.values = make(map[[32]byte]value, len(kept))
		for k, sealed := range kept {
			end := time.Now().Add(time.Minute)
			if v, ok := old[k]; ok {
				end = v.end
			}
			t.memory.values[k] = value{sealed, end}
		}
	})
}

// Close ends every Follow.
func (t *Tier) Close() { t.set(func() { t.closed = true }) }

// Stats returns the counts up to now.
func (t *Tier) Stats() TierStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.counts
	s.Kept, s.Position = len(t.memory.values), t.at
	return s
}

func (t *Tier) set(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	t.wakeLocked()
}

func (t *Tier) wakeLocked() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *Tier) forgetLocked() {
	t.era++
	t.born = t.at
	t.memory = memory{values: make(map[[32]byte]value), leases: make(map[[32]byte]uint64)}
}

// enter waits as long as an operation takes, and locks t unless it returns an error.
func (t *Tier) enter(ctx context.Context) error {
	t.mu.Lock()
	delay := t.delay
	t.mu.Unlock()
	if delay > 0 {
		wait := time.NewTimer(delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.mu.Lock()
	if t.down || t.closed {
		t.mu.Unlock()
		return ErrDown
	}
	return nil
}

var _ ttlcache.Tier = (*Tier)(nil)
