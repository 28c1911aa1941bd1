package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// errDenied is the provider's verdict: this token is bad.
var errDenied = errors.New("denied")

// logins asks the identity provider, no more than it can answer.
type logins struct {
	pacer    backoff.Pacer
	verdicts *ttlcache.Cache[string, string] // who holds a token
}

func newLogins(o options, log *slog.Logger) *logins {
	p := provider{free: make(chan struct{}, o.parallel), time: o.loginTime}
	return &logins{
		// Twice of what the provider works on keeps it busy. The rate is a first guess.
		pacer: backoff.Pacer{MaxPending: 2 * o.parallel, Rate: float64(o.parallel) / o.loginTime.Seconds()},
		verdicts: ttlcache.New(p.lookUp, ttlcache.Config[string, string]{
			TTL:      time.Minute,
			Denied:   func(err error) bool { return errors.Is(err, errDenied) },
			DenyTTL:  5 * time.Second,
			MaxStale: 10 * time.Minute, // of an outage of the provider
			MaxLoads: 2 * o.parallel,
			OnEvent:  func(e ttlcache.Event) { log.Debug("verdict", "kind", e.Kind, "error", e.Err, "took", e.Took) },
		}),
	}
}

// login returns who an agent is.
func (l *logins) login(r *http.Request) (user string, err error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", errDenied
	}
	slot, err := l.pacer.Enter()
	if err != nil {
		return "", err
	}
	defer slot.Cancel() // does nothing after Done
	user, err = l.verdicts.Get(r.Context(), token)
	if err == nil || errors.Is(err, errDenied) {
		slot.Done()
	}
	return user, err
}

// refuse says no, or "not now" and when to come back. It ends the connection, which
// would otherwise keep its place at the door.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Connection", "close")
	if errors.Is(err, errDenied) {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if d, ok := backoff.Hint(err); ok {
		transport.SetRetryAfter(w.Header(), d)
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable) // no verdict, so never 401
}

// provider stands for the identity provider: replace it.
type provider struct {
	free chan struct{}
	time time.Duration
}

// lookUp returns who holds a token.
func (p provider) lookUp(ctx context.Context, token string) (string, error) {
	select {
	case p.free <- struct{}{}:
		defer func() { <-p.free }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	work := time.NewTimer(p.time)
	defer work.Stop()
	select {
	case <-work.C:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	name, ok := strings.CutPrefix(token, "token of ")
	if !ok {
		return "", errDenied
	}
	return name, nil
}
