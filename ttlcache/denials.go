package ttlcache

import "sync"

// denials are remembered apart from positive verdicts, so that no flood of bad
// credentials displaces a good one. A caller that changes the verdict on a credential
// holds the lock of its shard as well.
type denials struct{ shards []denialShard }

type denialShard struct {
	mu      sync.RWMutex // guards entries
	entries sieve[error]
	_       [64]byte // as in shard
}

func newDenials(budget int) denials {
	budgets := shares(budget)
	d := denials{make([]denialShard, len(budgets))}
	for i, n := range budgets {
		d.shards[i].entries = newSieve[error](n)
	}
	return d
}

func (d denials) shard(k *digest) *denialShard { return &d.shards[k.index(len(d.shards))] }

func (d denials) get(k *digest) *entry[error] {
	s := d.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.entries.get(k)
}

// fresh returns the denial of k that holds now, or nil.
func (d denials) fresh(k *digest, now instant) error {
	e := d.get(k)
	if e == nil || now >= e.expires {
		return nil
	}
	e.touch()
	return e.value
}

func (d denials) put(e *entry[error], now instant) {
	s := d.shard(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.put(e, now)
}

// remove forgets the denial of k and returns it, or nil.
func (d denials) remove(k digest) *entry[error] {
	s := d.shard(&k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries.get(&k)
	if e != nil {
		s.entries.remove(e)
	}
	return e
}

func (d denials) clear() {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		s.entries.clear()
		s.mu.Unlock()
	}
}

func (d denials) len() int {
	n := 0
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.RLock()
		n += s.entries.len()
		s.mu.RUnlock()
	}
	return n
}
