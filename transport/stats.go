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

	// Dialed counts connections given to their first request. One that was
	// dialed and never used, as net/http does when another becomes free first,
	// is not counted.
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
		for _, h := range r.hosts.all() {
			if !yield(h.name, h.stats()) {
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
	mu     sync.RWMutex // guards the fields below
	byName map[string]*host
	other  *host
}

func (s *hosts) of(req *http.Request) *host {
	name := ""
	if req.URL != nil {
		name = req.URL.Host
	}
	s.mu.RLock()
	h := s.byName[name]
	s.mu.RUnlock()
	if h == nil {
		h = s.add(name)
	}
	return h
}

func (s *hosts) add(name string) *host {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.byName[name]; h != nil {
		return h
	}
	if len(s.byName) >= maxHosts {
		if s.other == nil {
			s.other = newHost(otherHosts)
		}
		return s.other
	}
	if s.byName == nil {
		s.byName = make(map[string]*host)
	}
	h := newHost(name)
	s.byName[name] = h
	return h
}

func (s *hosts) all() []*host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*host, 0, len(s.byName)+1)
	for _, h := range s.byName {
		all = append(all, h)
	}
	if s.other != nil {
		all = append(all, s.other)
	}
	return all
}

// A host counts what happened with one host.
type host struct {
	name  string
	trace context.Context // holds hooks, and nothing else

	requests, reused, dialed, failed atomic.Uint64
	drained, drainedBytes, abandoned atomic.Uint64
}

func newHost(name string) *host {
	h := &host{name: name}
	h.trace = httptrace.WithClientTrace(context.Background(), h.hooks())
	return h
}

// hooks returns a new set each time, since httptrace writes to what it is given.
func (h *host) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: h.gotConn}
}

func (h *host) gotConn(info httptrace.GotConnInfo) {
	if info.Reused {
		h.reused.Add(1)
	} else {
		h.dialed.Add(1)
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
	}
}
