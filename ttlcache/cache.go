package ttlcache

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A Cache remembers the verdicts of an authenticator, see the package comment. C is the type
// of a credential, V of a positive verdict. Make one with [New]. All methods may be called
// from any number of goroutines.
type Cache[C, V any] struct {
	config    Config[C, V] // resolved
	reserved  int          // of the configuration, as it was given
	load      func(context.Context, C) (V, error)
	base      time.Time
	hasher    *hasher
	shards    []shard[V]
	denials   denials
	admission admission
	sweeper   *sweeper
	counters  counters
	moment    atomic.Uint64 // orders questions and revocations, also those of one instant

	revoking   sync.Mutex // serialises changes of predicates
	predicates atomic.Pointer[predicates[V]]

	share *sharing[V] // nil without a Tier
}

// New returns a cache whose load asks the authenticator, and must heed the end of its
// context. A cache that only [Cache.Put] fills has [NoLoad]. New panics, naming the field,
// if load is nil or c contradicts itself: MaxEntries or MaxDenied negative, Reserved not
// below MaxLoads, Refresh not below 1, Jitter above 1, NaN in either, MaxStale without
// Denied, StaleAfter without MaxStale, or no Key for credentials that are not strings.
func New[C, V any](load func(context.Context, C) (V, error), c Config[C, V]) *Cache[C, V] {
	if load == nil {
		panic("ttlcache: New with nil load; a cache that only Put fills has NoLoad")
	}
	ends, reserved := c.Expires != nil, c.Reserved
	c = c.resolve()
	budgets := shares(c.MaxEntries)
	cache := &Cache[C, V]{
		config:   c,
		reserved: reserved,
		load:     load,
		base:     time.Now(),
		hasher:   newHasher(),
		shards:   make([]shard[V], len(budgets)),
		denials:  newDenials(c.MaxDenied),
		sweeper:  newSweeper(ends, c.TTL),
		admission: admission{
			slots:   c.MaxLoads,
			queue:   c.MaxQueue,
			timeout: c.LoadTimeout,
			reserve: reserve{slots: c.Reserved, wait: orDefault(max(0, c.LoadTimeout), defaultLoadTimeout)},
		},
	}
	cache.admission.reserve.life = max(c.TTL, cache.admission.reserve.wait)
	cache.admission.reserve.due = cache.someoneIsDue
	for i, n := range budgets {
		s := &cache.shards[i]
		s.verdicts, s.flights, s.running = newSieve[V](n), make(map[digest]*flight[V]), make(map[digest]*run)
		s.past = newSieve[struct{}](n)
		s.bars = bars{max: allBars / len(budgets), all: instant(math.MinInt64)}
		s.told = s.bars
		c.noteDueLocked(s)
	}
	cache.predicates.Store(&predicates[V]{})
	if c.Tier != nil {
		cache.hasher = newHasherWith(derive(c.Secret, "digest"))
		cache.share = newSharing(c, cache.now)
		cache.share.begin(cache.follow)
	}
	return cache
}

// NoLoad is the load of a cache that only [Cache.Put] fills, which is then read with
// [Cache.Peek]: middleware that asks by itself. A Get that finds nothing returns
// [ErrNoLoad].
//
//	cache := ttlcache.New(ttlcache.NoLoad, ttlcache.Config[string, User]{TTL: time.Minute})
func NoLoad[C, V any](context.Context, C) (v V, err error) { return v, ErrNoLoad }

// SetMaxLoads sets [Config.MaxLoads] to n: zero means 32, a negative value no limit. Running
// loads go on, so a lower limit holds once enough of them have ended; with a higher one,
// queued loads begin at once. Reserved changes with it: it stays a quarter of MaxLoads if
// that was its default, and below MaxLoads in any case.
func (c *Cache[C, V]) SetMaxLoads(n int) {
	n = limit(orDefault(n, defaultMaxLoads))
	c.admission.resize(n, min(reservedOf(c.reserved, n), n-1)).tell()
}

// Get returns the verdict on cred, from memory or by a load, for which it waits until ctx
// is done. The error is
//
//   - a denial, as the load returned it, if [Config.Denied] says so;
//   - no verdict otherwise: [ErrOverloaded] if no load was admitted, [ErrLoadTimeout], the
//     end of ctx with its cause, [ErrRevoked], [ErrNoKey], a [*PanicError], or the error of
//     the load.
//
// [Cache.Status] tells them apart. An answer from memory does not look at ctx. With a ctx
// that is done Get starts no load. A caller whose deadline comes too early for a load to end
// gets ErrOverloaded at once.
func (c *Cache[C, V]) Get(ctx context.Context, cred C) (V, error) {
	k, ok := c.digest(cred)
	if !ok {
		var none V
		return none, ErrNoKey
	}
	s, now := c.shard(&k), c.now()
	if e := s.lookup(&k); e != nil && c.fresh(e, now) {
		s.hits.Add(1)
		e.touch()
		if c.config.Refresh > 0 {
			c.refresh(ctx, cred, s, e, now)
		}
		return e.value, nil
	}
	return c.miss(ctx, cred, s, k, now)
}

// Peek returns the positive verdict on cred that a Get would find in memory, and
// whether there is one. It loads nothing and leaves no trace.
func (c *Cache[C, V]) Peek(cred C) (v V, ok bool) {
	k, ok := c.digest(cred)
	if !ok {
		return v, false
	}
	if e := c.shard(&k).lookup(&k); e != nil && c.fresh(e, c.now()) {
		return e.value, true
	}
	return v, false
}

// Put remembers the verdict v on cred, for which the authenticator was asked at that time:
// a login has just answered the question of the next Get. asked must be a time.Now of this
// process, from before the authenticator was asked; a time in the future counts as now.
// Put reports whether v is remembered. It is not if cred or v has been revoked at or after
// that time, if the cache knows the answer to a later question, denials included, and if v
// has expired, which also ends the verdict that was there. Under very many revocations Put
// may refuse more than it must.
//
// Put does not share v through the [Tier], whose lease would have to be older than the
// question: with a later one a revocation in between would be missed. Another replica asks.
func (c *Cache[C, V]) Put(cred C, v V, asked time.Time) bool {
	k, ok := c.digest(cred)
	if !ok {
		return false
	}
	now := time.Now() // once, so that at is exact
	q := question{at: instant(now.Sub(c.base)).add(-max(0, now.Sub(asked)))}
	s, end := c.shard(&k), c.end(v)
	if c.lockJudged(s, q, v) || s.cleared.stops(q) || s.bars.stop(&k, q) || s.told.stop(&k, q) || c.supersededLocked(s, k, q) {
		s.mu.Unlock()
		return false
	}
	stored, victim := c.storeLocked(s, k, q, v, end)
	s.mu.Unlock()
	c.evicted(victim)
	return stored
}

// Len returns how many positive verdicts are kept, expired ones that were not
// displaced yet among them, and denials not.
func (c *Cache[C, V]) Len() int {
	n := 0
	for i := range c.shards {
		n += c.shards[i].len()
	}
	return n
}

func (c *Cache[C, V]) digest(cred C) (digest, bool) {
	h := c.hasher.begin()
	c.config.Key(h, cred)
	return c.hasher.end(h)
}

// supersededLocked reports whether something is known that was asked after q. At the
// same instant a Put wins, since a load began before it.
func (c *Cache[C, V]) supersededLocked(s *shard[V], k digest, q question) bool {
	last := q.at
	if q.moment != 0 {
		last--
	}
	if e := s.verdicts.get(&k); e != nil && e.asked > last {
		return true
	}
	d := c.denials.get(&k)
	return d != nil && d.asked > last
}

// storeLocked replaces the verdict on k by v, unless v has expired, and returns the one that
// had to go for it although it was still served, if any.
func (c *Cache[C, V]) storeLocked(s *shard[V], k digest, q question, v V, end instant) (stored bool, victim *entry[V]) {
	c.denials.remove(k)
	e := c.entry(k, q, v, end)
	if e.expires <= e.asked || c.now() >= e.dead {
		c.forgetLocked(s, k)
		return false, nil
	}
	return true, c.putLocked(s, e)
}

// entry returns the verdict v, asked for at q, of a credential that ends at end.
func (c *Cache[C, V]) entry(k digest, q question, v V, end instant) *entry[V] {
	expires := min(q.at.add(c.life()), end)
	e := &entry[V]{
		key:     k,
		value:   v,
		asked:   q.at,
		expires: expires,
		dead:    min(expires.add(max(0, c.config.MaxStale)), end),
	}
	e.renew.Store(int64(c.due(e)))
	return e
}

// putLocked keeps e, and returns the verdict that had to go for it although it was still
// served, if any.
func (c *Cache[C, V]) putLocked(s *shard[V], e *entry[V]) (victim *entry[V]) {
	now := c.now()
	s.roomLocked(&e.key)
	victim = s.verdicts.put(e, now)
	c.config.noteDueLocked(s)
	c.sweepAfter(e.dead)
	if victim == nil || now >= victim.dead {
		return nil
	}
	c.counters.evicted.Add(1)
	return victim
}

// fresh reports whether e is served as it is. A verdict from the tier is served only while
// revocations come from there as well.
func (c *Cache[C, V]) fresh(e *entry[V], now instant) bool {
	return now < e.expires && (!e.shared || c.share.alive(now))
}

// evicted tells that a verdict has gone for another, if one has.
func (c *Cache[C, V]) evicted(e *entry[V]) {
	if e != nil {
		c.tell(Event{Kind: Evicted, Key: e.key.name()})
	}
}

// forgetLocked removes the positive verdict on k and returns it, or nil. The credential is
// known no longer.
func (c *Cache[C, V]) forgetLocked(s *shard[V], k digest) *entry[V] {
	e := s.verdicts.get(&k)
	if e != nil {
		s.verdicts.remove(e)
	}
	if e := s.past.get(&k); e != nil {
		s.past.remove(e)
	}
	c.config.noteDueLocked(s)
	return e
}

// life draws how long a verdict lives.
func (c *Cache[C, V]) life() time.Duration {
	ttl := max(0, c.config.TTL)
	return ttl - time.Duration(rand.Float64()*c.config.Jitter*float64(ttl))
}

// due returns from when on a hit renews e, if any does.
func (c *Cache[C, V]) due(e *entry[V]) instant {
	return e.asked.add(time.Duration(c.config.Refresh * float64(e.expires-e.asked)))
}

// end returns when the credential that v was said about ends by itself.
func (c *Cache[C, V]) end(v V) instant {
	t := c.config.Expires(v)
	if t.IsZero() || t.Equal(time.Unix(0, 0)) { // the latter is an exp claim that is absent
		return distantFuture
	}
	return c.now().add(time.Until(t))
}
