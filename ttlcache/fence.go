package ttlcache

// A question is when an authenticator was asked.
type question struct {
	moment uint64  // orders it among the revocations; zero if only at is known
	at     instant // the life of the verdict counts from here
	sealed bool    // it came through the tier, and its place in the log is known
}

// A fence is a revocation: answers to earlier questions do not pass.
type fence struct {
	moment uint64
	at     instant
	log    bool // of the tier, which is a finer order than time for verdicts from the tier
}

// stops reports whether q was asked before the revocation. Of two events at the
// same instant the order is unknown without moments, so nothing passes.
func (f fence) stops(q question) bool {
	return f.follows(q) && !(f.log && q.sealed)
}

// follows reports whether the revocation may be later than q.
func (f fence) follows(q question) bool {
	if q.moment != 0 {
		return q.moment < f.moment
	}
	return f.moment != 0 && q.at <= f.at
}

// with returns f instead of itself and an earlier fence.
func (f fence) with(earlier fence) fence {
	f.log = f.log && (earlier.log || earlier.moment == 0)
	return f
}

// A run is the state of a credential while loads of it run. Revocations of others do not
// touch it.
type run struct {
	loads  int   // that run, those whose time is over among them
	fence  fence // the last revocation, or denial here, since the first of them began
	denied fence // the last denial that the log has told of: it stops positive verdicts
}

// bars refuse a Put whose question is older than a revocation or a denial of its
// credential. They remember the latest ones. A dropped one bars every question from
// before it, so a Put may be refused without need, which costs a load later.
type bars struct {
	max    int
	all    instant            // the earliest question of any credential that passes
	first  map[uint64]instant // the earliest that passes, by the part of a digest
	oldest int                // in order
	order  []uint64           // of the parts, a ring once it is full
}

const allBars = 1 << 14 // of all shards, some 700 kB when there are so many

func (b *bars) stop(k *digest, q question) bool {
	first, ok := b.first[k.part()]
	return q.at < b.all || ok && q.at < first
}

// raise lets no question about k pass from before at.
func (b *bars) raise(k *digest, at instant) {
	part := k.part()
	if old, ok := b.first[part]; ok {
		b.first[part] = max(old, at)
		return
	}
	if b.first == nil {
		b.first = make(map[uint64]instant)
	}
	b.first[part] = at
	if len(b.order) < b.max {
		b.order = append(b.order, part)
		return
	}
	dropped := b.order[b.oldest]
	b.all = max(b.all, b.first[dropped])
	delete(b.first, dropped)
	b.order[b.oldest] = part
	b.oldest = (b.oldest + 1) % b.max
}

// maxPredicates bounds predicates. A dropped one is replaced by a fence that stops more:
// some loads ask once more than they need.
const maxPredicates = 256

// predicates are the recent revocations by verdict, oldest first. They do not
// change once they are in a Cache.
type predicates[V any] struct {
	all  fence // of those dropped
	list []predicate[V]
}

type predicate[V any] struct {
	fence
	match func(V) bool
}

// stop reports whether v, said in answer to q, has been revoked since.
func (p *predicates[V]) stop(q question, v V) bool {
	if p.all.stops(q) {
		return true
	}
	for i := len(p.list) - 1; i >= 0 && p.list[i].follows(q); i-- {
		if p.list[i].stops(q) && p.list[i].match(v) {
			return true
		}
	}
	return false
}

// with returns p and one more.
func (p *predicates[V]) with(more predicate[V]) *predicates[V] {
	all, list := p.all, p.list
	if len(list) >= maxPredicates {
		half := len(list) / 2
		last := list[half-1].fence.with(all)
		for _, old := range list[:half] {
			last = last.with(old.fence)
		}
		all, list = last, list[half:]
	}
	return &predicates[V]{all, append(list[:len(list):len(list)], more)}
}
