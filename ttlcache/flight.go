package ttlcache

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// A flight is a load and the callers that wait for it. It goes through these states:
//
//	    miss, refresh
//	          |
//	 tier asked (early)  -- found there -------------------------> settled
//	          |
//	 admission.enter  ---- error: turnAway ----------------------> settled
//	    |         |
//	waiting --- running
//	 |   |        |
//	 |   |        +-- publish: a verdict ------------------------> settled
//	 |   |        +-- fail: an error, a panic -------------------> settled
//	 |   |        +-- expire: LoadTimeout; goes on running ------> settled
//	 |   +-- refuse: cannot end in time -------------------------> settled
//	 +-- abandon: the last caller has left ----------------------> settled
//
// settled means that it has its one result, which all callers get, and that the next Get
// of the credential begins another flight.
type flight[V any] struct {
	ticket // guarded by the lock of the admission

	// These do not change.
	key    digest
	shard  *shard[V]
	ctx    context.Context // of the load
	cancel context.CancelFunc
	disarm func() bool // of expire, which is called when ctx ends
	load   func() (V, error)
	known  bool          // there was a verdict
	done   chan struct{} // closed once it is settled

	// These belong to the goroutine of the load, or before it of the tier lookup.
	began     time.Time
	slotFreed bool   // it has left the admission
	lease     uint64 // of the tier for the answer, or zero

	// The lock of the shard guards these.
	early      bool // the tier is asked first, and the admission does not know the flight
	background bool // it goes on if no caller waits
	waiters    int
	settled    bool
	result     result[V]
}

// A result is that of Get. If stale is not nil, it is the reason why the verdict is
// one that has expired.
type result[V any] struct {
	v     V
	err   error
	stale error
	age   time.Duration // of a stale verdict, since it was asked for
}

// An answer is the result of a load, judged.
type answer[V any] struct {
	v      V
	err    error
	denied bool    // err is a denial
	end    instant // of the credential by itself
}

// miss is Get for a credential without a fresh positive verdict in memory.
func (c *Cache[C, V]) miss(ctx context.Context, cred C, s *shard[V], k digest, now instant) (v V, err error) {
	if err := c.denials.fresh(&k, now); err != nil {
		c.counters.deniedHits.Add(1)
		return v, err
	}
	if ctx.Err() != nil {
		return v, contextError(ctx)
	}
	s.mu.Lock()
	if r, ok := c.recallLocked(s, k); ok { // it came in meanwhile
		s.mu.Unlock()
		if r.err != nil {
			c.counters.deniedHits.Add(1)
		} else {
			s.hits.Add(1)
		}
		return r.v, r.err
	}
	c.counters.misses.Add(1)
	if r, ok := c.heldOffLocked(s, k); ok {
		s.mu.Unlock()
		return c.serve(&k, r)
	}
	_, stale := c.staleLocked(s.verdicts.get(&k), now, nil)
	f := s.flights[k]
	if f != nil {
		f.waiters++
		c.counters.joined.Add(1)
		c.joinLocked(f, patience(ctx))
		s.mu.Unlock()
		return c.wait(ctx, f, stale)
	}
	f = c.flight(ctx, cred, s, k)
	f.waiters = 1
	if c.share.wanted() {
		c.askTierUnlock(ctx, f)
		return c.wait(ctx, f, stale)
	}
	if err := c.launchUnlock(ctx, f); err != nil {
		return c.serve(&k, c.turnAway(f, err))
	}
	return c.wait(ctx, f, stale)
}

// refresh renews e in the background, if that is due and no other Get does. If it
// fails, a hit after half of the time that is left tries again.
func (c *Cache[C, V]) refresh(ctx context.Context, cred C, s *shard[V], e *entry[V], now instant) {
	due, next := e.renew.Load(), int64(now+(e.expires-now)/2+1)
	if int64(now) < due || !e.renew.CompareAndSwap(due, next) {
		return
	}
	s.mu.Lock()
	if s.flights[e.key] != nil || s.verdicts.get(&e.key) != e {
		s.mu.Unlock()
		return
	}
	f := c.flight(ctx, cred, s, e.key)
	f.background = true
	f.lane = laneRenewal
	if c.share.wanted() {
		c.askTierUnlock(context.WithoutCancel(ctx), f)
		return
	}
	if c.launchUnlock(context.WithoutCancel(ctx), f) == nil {
		c.counters.refreshed.Add(1)
		return
	}
	f.release() // no caller waits for it
}

// flight returns a load that has not been admitted yet.
func (c *Cache[C, V]) flight(ctx context.Context, cred C, s *shard[V], k digest) *flight[V] {
	f := &flight[V]{key: k, shard: s, done: make(chan struct{})}
	f.lane = laneStranger
	if f.known = s.knowsLocked(&k); f.known {
		f.lane = laneKnown
	}
	f.begin = func() { go c.run(f) }
	f.refuse = func(err error) { c.turnAway(f, err) }
	ctx = context.WithoutCancel(ctx)
	if d := c.config.LoadTimeout; d > 0 {
		f.ctx, f.cancel = context.WithTimeoutCause(ctx, d, ErrLoadTimeout)
		f.end, _ = f.ctx.Deadline()
	} else {
		f.ctx, f.cancel = context.WithCancel(ctx)
	}
	f.disarm = context.AfterFunc(f.ctx, func() { c.expire(f) })
	f.load = func() (V, error) { return c.load(f.ctx, cred) }
	return f
}

// launchUnlock asks for admission and unlocks the shard. If it returns an error, f
// will never be.
func (c *Cache[C, V]) launchUnlock(ctx context.Context, f *flight[V]) error {
	f.patient = patience(ctx)
	done, err := c.admission.enter(&f.ticket)
	if err == nil {
		f.shard.flights[f.key] = f
	}
	f.shard.mu.Unlock()
	done.tell()
	return err
}

// patience is when a caller leaves; zero is never.
func patience(ctx context.Context) time.Time {
	end, _ := ctx.Deadline()
	return end
}

// wait returns the result of f, or the end of ctx, or the stale verdict if there is one and
// f takes longer than StaleAfter.
func (c *Cache[C, V]) wait(ctx context.Context, f *flight[V], stale bool) (v V, err error) {
	var long <-chan time.Time
	if after := c.config.StaleAfter; after > 0 && stale {
		timer := time.NewTimer(after)
		defer timer.Stop()
		long = timer.C
	}
	for {
		select {
		case <-f.done:
			return c.serve(&f.key, f.result)
		case <-ctx.Done():
			if c.abandon(f) {
				return v, contextError(ctx)
			}
			return c.serve(&f.key, f.result)
		case <-long:
			if r, ok := c.stopWaiting(f); ok {
				return c.serve(&f.key, r)
			}
		}
	}
}

// serve returns r to a caller of Get.
func (c *Cache[C, V]) serve(k *digest, r result[V]) (V, error) {
	if r.stale != nil {
		c.counters.stale.Add(1)
		c.tell(Event{Kind: Stale, Key: k.name(), Err: r.stale, Age: r.age})
	}
	return r.v, r.err
}

// abandon leaves f, and reports whether it had no result yet. A load that has not
// begun is dropped with its last caller.
func (c *Cache[C, V]) abandon(f *flight[V]) bool {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.settled {
		return false
	}
	f.waiters--
	if f.waiters == 0 && !f.background && c.admission.drop(&f.ticket) {
		f.settleLocked(result[V]{})
		f.release()
	}
	return true
}

// run is the goroutine of a load that was admitted.
func (c *Cache[C, V]) run(f *flight[V]) {
	f.began = time.Now()
	f.shard.count(f.key, 1)
	returned := false
	defer func() {
		r := recover()
		f.shard.count(f.key, -1)
		c.leave(f).tell()
		switch {
		case r != nil:
			c.fail(f, Panicked, &PanicError{r, debug.Stack()}, time.Since(f.began))
		case !returned:
			c.fail(f, Failed, errGoexit, time.Since(f.began))
		}
		f.release()
	}()
	c.ask(f)
	returned = true
}

// count adds to the loads of k that run.
func (s *shard[V]) count(k digest, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.running[k]
	if r == nil {
		r = &run{}
		s.running[k] = r
	}
	r.loads += n
	if r.loads == 0 {
		delete(s.running, k)
	}
}

// maxAsks bounds how often a load asks because its answers were revoked meanwhile.
const maxAsks = 4

func (c *Cache[C, V]) ask(f *flight[V]) {
	err := ErrRevoked
	for range maxAsks {
		if f.ctx.Err() != nil {
			err = contextError(f.ctx)
			break
		}
		c.counters.loads.Add(1)
		q := c.question()
		a := c.judge(f.load())
		if a.err != nil && !a.denied {
			err = a.err
			if f.ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", contextError(f.ctx), err)
			}
			break
		}
		c.offer(f, q, a)
		if c.publish(f, q, a) {
			return
		}
	}
	c.leave(f).tell()
	c.fail(f, Failed, err, time.Since(f.began))
}

// leave makes room for the next load, once. It comes before the result, so that a
// caller that has the result finds the slot free.
func (c *Cache[C, V]) leave(f *flight[V]) turns {
	if f.slotFreed {
		return turns{}
	}
	f.slotFreed = true
	return c.admission.leave(&f.ticket, time.Since(f.began), f.ctx.Err() != nil)
}

// judge calls Denied or Expires.
func (c *Cache[C, V]) judge(v V, err error) answer[V] {
	if err != nil {
		return answer[V]{err: err, denied: c.isDenial(err)}
	}
	return answer[V]{v: v, end: c.end(v)}
}

// expire frees the callers of a load that is out of time.
func (c *Cache[C, V]) expire(f *flight[V]) {
	c.fail(f, Failed, contextError(f.ctx), 0) // first: its lock is held until f has entered
	if c.admission.drop(&f.ticket) {
		f.release()
	}
}

// release lets go of the load's context.
func (f *flight[V]) release() {
	f.disarm()
	f.cancel()
}

// settleLocked gives r to all callers.
func (f *flight[V]) settleLocked(r result[V]) {
	if f.settled {
		return
	}
	f.settled, f.result = true, r
	if f.shard.flights[f.key] == f {
		delete(f.shard.flights, f.key)
	}
	close(f.done)
}
