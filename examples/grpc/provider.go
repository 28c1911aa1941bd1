package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

var errBadToken = errors.New("bad token")

// denied reports whether err is the provider's verdict, which no further attempt changes.
func denied(err error) bool { return errors.Is(err, errBadToken) }

// A provider of identities that does four lookups at once, and so many a second.
type provider struct {
	turns chan struct{}
	takes time.Duration

	asked, running, peak atomic.Int64
}

const providerTurns = 4

func newProvider(perSecond int) *provider {
	return &provider{
		turns: make(chan struct{}, providerTurns),
		takes: providerTurns * time.Second / time.Duration(max(perSecond, 1)),
	}
}

// lookUp returns who holds the token.
func (p *provider) lookUp(ctx context.Context, token string) (string, error) {
	p.asked.Add(1)
	now := p.running.Add(1)
	defer p.running.Add(-1)
	for old := p.peak.Load(); now > old && !p.peak.CompareAndSwap(old, now); old = p.peak.Load() {
	}
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	done := time.NewTimer(p.takes)
	defer done.Stop()
	select {
	case <-done.C:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	agent, ok := strings.CutPrefix(token, "token of ")
	if !ok {
		return "", errBadToken
	}
	return agent, nil
}
