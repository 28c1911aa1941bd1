package ttlcache

import "sync"

// denials are remembered apart from positive verdicts, so that no flood of bad
// credentials displaces a good one. Whoever changes what is known about a credential
// holds the lock of its shard as well.
type denials struct{ shelves []shelf }

type shelf struct {
	mu      sync.RWMutex // guards entries
	entries sieve[error]
	_       [64]byte // as in shard
}

func newDenials(budget int) denials {
	budgets := shares(budget)
	d := denials{make([]shelf, len(budgets))}
	for i, n := range budgets {
		d.shelves[i].entries = newSieve[error](n)
	}
	return d
}

func (d denials) shelf(k *digest) *shelf { return &d.shelves[k.index(len(d.shelves))] }

func (d denials) get(k *digest) *entry[error] {
	s := d.shelf(k)
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
	s := d.shelf(&e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.put(e, now)
}

// remove forgets the denial of k and returns it, or nil.
func (d denials) remove(k digest) *entry[error] {
	s := d.shelf(&k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries.get(&k)
	if e != nil {
		s.entries.remove(e)
	}
	return e
}

func (d denials) clear() {
	for i := range d.shelves {
		s := &d.shelves[i]
		s.mu.Lock()
		s.entries.clear()
		s.mu.Unlock()
	}
}

func (d denials) len() int {
	n := 0
	for i := range d.shelves {
		s := &d.shelves[i]
		s.mu.RLock()
		n += s.entries.len()
		s.mu.RUnlock()
	}
	return n
}
