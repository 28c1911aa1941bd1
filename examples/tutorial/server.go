package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/authhttp"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// A server holds a stream to each agent that has logged in.
type server struct {
	lookUp func(ctx context.Context, token string) (string, error)
	online atomic.Int64

	mu    sync.Mutex    // guards the field below
	ended chan struct{} // closed when all streams are cut
}

func newServer(lookUp func(context.Context, string) (string, error)) *server {
	return &server{lookUp: lookUp, ended: make(chan struct{})}
}

// ServeHTTP gives a login one second.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, _ := authhttp.Bearer(r)
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if _, err := s.lookUp(ctx, token); err != nil {
		w.Header().Set("Connection", "close") // frees the place of the connection
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	listener.AdmitContext(r.Context()) // logged in: the next client may begin
	s.online.Add(1)
	defer s.online.Add(-1)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-s.streams():
	}
}

func (s *server) streams() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// cut ends all streams, as a balancer or a network does.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ended)
	s.ended = make(chan struct{})
}

// connContext lets AdmitContext find the connection of a request.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return listener.ConnContext(ctx, c)
}

func plainListener(l net.Listener) net.Listener { return l }

// limitedListener lets eight clients log in at once, twice as many as the provider works
// on. The others wait in the kernel's queue.
func limitedListener(l net.Listener) net.Listener {
	return listener.Throttle(l, listener.Limits{MaxPending: 8})
}

// newVerdicts is an auth cache: a lookup is done once in a minute for each token, at most
// eight run at once, and one whose caller has left still fills the cache.
func newVerdicts(idp *ttlcachetest.Provider) *ttlcache.Cache[string, string] {
	return ttlcache.New(idp.Load, ttlcache.Config[string, string]{
		Denied: ttlcachetest.Denied, DenyTTL: 2 * time.Second,
		TTL:      time.Minute,
		MaxLoads: 8,
	})
}
