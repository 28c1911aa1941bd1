package transport

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// Stats is a snapshot of what a [Reuse] did. Counts of connections come from
// net/http/httptrace; with a Base that does not report there they stay 0.
type Stats struct {
	// Requests counts the requests that were made.
	Requests uint64

	// Reused counts connections given to a request that had carried one before.
	// A request that net/http sent again counts again, here or in Dialed.
	Reused uint64

	// Dialed counts connections given to the request that they were dialed for.
	// When another becomes free first, as happens in a burst, net/http keeps the
	// one that it dialed for later: that counts here never, and in Reused when it
	// is used.
	Dialed uint64

	// Failed counts requests that ended with an error instead of an answer.
	Failed uint64

	// Drained counts HTTP/1 bodies that Close read to their end.
	Drained uint64

	// DrainedBytes counts the bytes that Close read, in vain or not.
	DrainedBytes uint64

	// Abandoned counts HTTP/1 bodies closed before their end, each at the price
	// of its connection: more was left than DrainBytes, it came slower than
	// DrainTime, or another goroutine was reading.
	Abandoned uint64

	// Retired counts connections that reached MaxConnAge and were ended by their
	// next request.
	Retired uint64

	// Leaked counts bodies that were reported to OnLeak.
	Leaked uint64

	// Waited counts requests that ColdStart made wait for another's connection.
	Waited uint64
}

// ReuseRatio returns the share of connections given to requests that had carried
// one before: Reused/(Reused+Dialed), from 0 to 1, and 0 when nothing was sent.
func (s Stats) ReuseRatio() float64 {
	if s.Reused == 0 {
		return 0
	}
	return float64(s.Reused) / (float64(s.Reused) + float64(s.Dialed))
}

func (s *Stats) add(o Stats) {
	s.Requests += o.Requests
	s.Reused += o.Reused
	s.Dialed += o.Dialed
	s.Failed += o.Failed
	s.Drained += o.Drained
	s.DrainedBytes += o.DrainedBytes
	s.Abandoned += o.Abandoned
	s.Retired += o.Retired
	s.Leaked += o.Leaked
	s.Waited += o.Waited
}

// Stats returns the counts of all hosts together.
func (r *Reuse) Stats() Stats {
	var sum Stats
	for _, s := range r.Hosts() {
		sum.add(s)
	}
	return sum
}

// Hosts returns the counts of each host, named as in the URL, with the port if it
// has one; the order is random. From the 257th host on they are counted together
// under "other", so that a crawler does not grow without bound.
func (r *Reuse) Hosts() iter.Seq2[string, Stats] {
	return func(yield func(string, Stats) bool) {
		for name, s := range r.hosts.stats() {
			if !yield(name, s) {
				return
			}
		}
	}
}

// maxHosts are counted apart, the others together.
const (
	maxHosts   = 256
	otherHosts = "other"
)

// hosts finds the host of a request.
type hosts struct {
	mu    sync.RWMutex // guards the fields below
	known map[hostKey]*host
	other *host
}

// A hostKey tells hosts apart. Their connections differ by scheme too.
type hostKey struct{ scheme, name string }

func (s *hosts) of(req *http.Request, gated bool) *host {
	var key hostKey
	if req.URL != nil {
		key = hostKey{req.URL.Scheme, req.URL.Host}
	}
	s.mu.RLock()
	h := s.known[key]
	s.mu.RUnlock()
	if h == nil {
		h = s.add(key, gated)
	}
	return h
}

func (s *hosts) add(key hostKey, gated bool) *host {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.known[key]; h != nil {
		return h
	}
	if len(s.known) >= maxHosts {
		if s.other == nil {
			s.other = newHost(false) // they have no connection in common to wait for
		}
		return s.other
	}
	if s.known == nil {
		s.known = make(map[hostKey]*host)
	}
	h := newHost(gated)
	s.known[key] = h
	return h
}

// stats are the counts by name.
func (s *hosts) stats() map[string]Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	byName := make(map[string]Stats, len(s.known)+1)
	for key, h := range s.known {
		sum := byName[key.name]
		sum.add(h.stats())
		byName[key.name] = sum
	}
	if s.other != nil {
		byName[otherHosts] = s.other.stats()
	}
	return byName
}

// A host counts what happened with one host.
type host struct {
	trace context.Context // holds hooks, and nothing else
	gate  *gate           // nil without ColdStart

	requests, reused, dialed, failed atomic.Uint64
	drained, drainedBytes, abandoned atomic.Uint64
	retired, leaked, waited          atomic.Uint64
}

func newHost(gated bool) *host {
	h := new(host)
	if gated {
		h.gate = newGate()
	}
	h.trace = httptrace.WithClientTrace(context.Background(), h.hooks())
	return h
}

// hooks returns a new set each time, since httptrace writes to what it is given.
func (h *host) hooks() *httptrace.ClientTrace {
	hooks := &httptrace.ClientTrace{GotConn: h.gotConn}
	if h.gate != nil {
		hooks.WroteHeaders = h.gate.wrote
	}
	return hooks
}

func (h *host) gotConn(info httptrace.GotConnInfo) {
	if info.Reused {
		h.reused.Add(1)
	} else {
		h.dialed.Add(1)
	}
	if h.gate != nil {
		h.gate.got(info)
	}
}

func (h *host) stats() Stats {
	return Stats{
		Requests:     h.requests.Load(),
		Reused:       h.reused.Load(),
		Dialed:       h.dialed.Load(),
		Failed:       h.failed.Load(),
		Drained:      h.drained.Load(),
		DrainedBytes: h.drainedBytes.Load(),
		Abandoned:    h.abandoned.Load(),
		Retired:      h.retired.Load(),
		Leaked:       h.leaked.Load(),
		Waited:       h.waited.Load(),
	}
}
