package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// A provider is an identity provider of fixed capacity. A lookup whose client has left is
// worked on all the same, as by a real one.
type provider struct {
	url     string
	workers int
	took    time.Duration
	free    chan struct{}
	server  *http.Server

	mu       sync.Mutex // guards the fields below
	since    time.Time
	lookups  int
	arrivals []int // in each tenth of a second
}

const tenth = 100 * time.Millisecond

func newProvider(capacity float64) (*provider, error) {
	const workers = 4
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{
		url: "http://" + l.Addr().String(), workers: workers, free: make(chan struct{}, workers),
		took: time.Duration(workers / capacity * float64(time.Second)),
	}
	p.begin()
	p.server = &http.Server{Handler: p}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.lookups++
	n := int(time.Since(p.since) / tenth)
	for len(p.arrivals) <= n {
		p.arrivals = append(p.arrivals, 0)
	}
	p.arrivals[n]++
	p.mu.Unlock()
	p.free <- struct{}{}
	defer func() { <-p.free }()
	time.Sleep(p.took)
	_, _ = w.Write([]byte("user of " + r.Header.Get("Authorization")))
}

func (p *provider) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.lookups, p.arrivals = time.Now(), 0, nil
}

// counts returns the lookups since begin, and the most of them in a tenth of a second.
func (p *provider) counts() (lookups, peak int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.arrivals {
		peak = max(peak, n)
	}
	return p.lookups, peak
}

func (p *provider) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := p.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = p.server.Close()
	}
}
