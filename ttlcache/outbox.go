package ttlcache

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// An outbox is what the tier has yet to be told.
type outbox struct {
	mu         sync.Mutex // guards the fields below
	keys, tags map[[32]byte]struct{}
	denied     map[[32]byte]struct{} // keys
	all        bool
	sending    bool
}

const (
	maxOutbox  = 4096 // keys and tags; beyond, everything is revoked
	maxDenials = 256  // beyond, of those no denial is told
)

// add puts r into the outbox. What is too much is everything.
func (o *outbox) add(r Revocation, denial bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := &o.keys
	if denial {
		keys, r.Tags = &o.denied, nil
	}
	for _, k := range r.Keys {
		put(keys, k)
	}
	for _, t := range r.Tags {
		put(&o.tags, t)
	}
	o.all = o.all || r.All || len(o.keys)+len(o.tags)+len(o.denied) > maxOutbox
	if o.all {
		o.keys, o.tags, o.denied = nil, nil, nil
	}
}

// deniedStranger puts a key in whose credential was never valid here and has been denied.
// A flood of those is no reason to fill the log: the tier has hardly anything on them.
func (o *outbox) deniedStranger(k digest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all || len(o.denied) >= maxDenials {
		return
	}
	put(&o.denied, k)
}

func put(set *map[[32]byte]struct{}, d [32]byte) {
	if *set == nil {
		*set = make(map[[32]byte]struct{})
	}
	(*set)[d] = struct{}{}
}

// take empties the outbox. With nothing in it the sender ends.
func (o *outbox) take() (r Revocation, denied [][32]byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r = Revocation{Keys: slices.Collect(maps.Keys(o.keys)), Tags: slices.Collect(maps.Keys(o.tags)), All: o.all}
	denied = slices.Collect(maps.Keys(o.denied))
	o.sending = !o.emptyLocked()
	o.keys, o.tags, o.denied, o.all = nil, nil, nil, false
	return r, denied, o.sending
}

func (o *outbox) emptyLocked() bool { return !o.all && len(o.keys)+len(o.tags)+len(o.denied) == 0 }

// start reports whether a sender is needed.
func (o *outbox) start() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sending || o.emptyLocked() {
		return false
	}
	o.sending = true
	return true
}

// send begins to empty the outbox.
func (c *Cache[C, V]) send() {
	s := c.share
	if s.ctx.Err() != nil || !s.outbox.start() {
		return
	}
	s.begin(func() {
		const least, most = 50 * time.Millisecond, time.Second
		wait := least
		for {
			r, denied, ok := s.outbox.take()
			if !ok {
				return
			}
			if s.tell(most, r, denied) {
				wait = least // the next ones go together
			} else {
				wait = min(2*wait, most)
			}
			if !s.pause(wait) {
				return
			}
		}
	})
}

// tell tells the tier of what was in the outbox, and puts back what it could not tell.
func (s *sharing[V]) tell(within time.Duration, r Revocation, denied [][32]byte) (done bool) {
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	if r.All || len(r.Keys)+len(r.Tags) > 0 {
		if s.revoke(ctx, r) != nil {
			s.outbox.add(r, false)
			s.outbox.add(s.denial(denied...), true)
			return false
		}
	}
	if len(denied) > 0 && s.revoke(ctx, s.denial(denied...)) != nil {
		s.outbox.add(s.denial(denied...), true)
		return false
	}
	return true
}
