package transport

import (
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

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

func (s *hosts) of(req *http.Request, coldStart bool) *host {
	var key hostKey
	if req.URL != nil {
		key = hostKey{req.URL.Scheme, req.URL.Host}
	}
	s.mu.RLock()
	h := s.known[key]
	s.mu.RUnlock()
	if h == nil {
		h = s.add(key, coldStart)
	}
	return h
}

func (s *hosts) add(key hostKey, coldStart bool) *host {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.known[key]; h != nil {
		return h
	}
	if len(s.known) >= maxHosts {
		if s.other == nil {
			s.other = new(host) // they have no connection in common to wait for or to suspect
			s.other.off = true
		}
		return s.other
	}
	if s.known == nil {
		s.known = make(map[hostKey]*host)
	}
	h := new(host)
	if coldStart {
		h.cold = newColdStart()
	}
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
		sum := byName[otherHosts] // of a host that has this name
		sum.add(s.other.stats())
		byName[otherHosts] = sum
	}
	return byName
}

// A host has the counts of one host.
type host struct {
	cold *coldStart // nil without ColdStart
	suspicion

	requests, reused, dialed, failed atomic.Uint64
	drained, drainedBytes, abandoned atomic.Uint64
	retired, dropped, leaked, waited atomic.Uint64
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
		Retired:      h.retired.Load(),
		Dropped:      h.dropped.Load(),
		Leaked:       h.leaked.Load(),
		Waited:       h.waited.Load(),
	}
}
