package ttlcache

// A question is when an authenticator was asked.
type question struct {
	moment uint64  // orders it among the revocations; zero if only at is known
	at     instant // the life of the verdict counts from here
}

// A fence is a revocation: answers to earlier questions do not pass.
type fence struct {
	moment uint64
	at     instant
}

// stops reports whether q was asked before the revocation. Of what happened at the
// same instant the order is unknown without moments, so nothing passes.
func (f fence) stops(q question) bool {
	if q.moment != 0 {
		return q.moment < f.moment
	}
	return f.moment != 0 && q.at <= f.at
}

// maxFences bounds what a shard, or the predicates, keep. What is dropped is made up
// for by a fence that stops more: some loads ask once more than they need.
const maxFences = 256

// fences are the revocations in a shard.
type fences struct {
	all  fence
	keys map[digest]fence
}

func (f *fences) stop(k digest, q question) bool { return f.all.stops(q) || f.keys[k].stops(q) }

func (f *fences) add(k digest, at fence) {
	if len(f.keys) >= maxFences {
		f.set(at)
		return
	}
	if f.keys == nil {
		f.keys = make(map[digest]fence)
	}
	f.keys[k] = at
}

// set stops everything before at.
func (f *fences) set(at fence) { f.all, f.keys = at, nil }

// predicates are the recent revocations by what was said, oldest first. They do not
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
	for i := len(p.list) - 1; i >= 0 && p.list[i].stops(q); i-- {
		if p.list[i].match(v) {
			return true
		}
	}
	return false
}

// with returns p and one more.
func (p *predicates[V]) with(more predicate[V]) *predicates[V] {
	all, list := p.all, p.list
	if len(list) >= maxFences {
		half := len(list) / 2
		all, list = list[half-1].fence, list[half:]
	}
	return &predicates[V]{all, append(list[:len(list):len(list)], more)}
}
