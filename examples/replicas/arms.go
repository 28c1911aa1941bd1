package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// replicas is how many servers there are.
const replicas = 3

// An arm is an event, how the servers take it, and what they share.
type arm struct {
	Name    string
	event   func(context.Context, *stage) error
	mode    string // of a server that is told to end
	tier    bool   // the replicas share verdicts and revocations
	balance string // what HAProxy does
}

var arms = []arm{
	{"crash-one", crashOne, plain, false, roundrobin},
	{"crash-one-tier", crashOne, plain, true, roundrobin},
	{"crash-all", crashAll, plain, false, roundrobin},
	{"crash-all-tier", crashAll, plain, true, roundrobin},
	{"rolling-plain", rolling, plain, false, roundrobin},
	{"rolling-plain-tier", rolling, plain, true, roundrobin},
	{"rolling-window", rolling, window, false, roundrobin},
	{"rolling-drained", rolling, drained, false, roundrobin},
	{"rolling-drained-tier", rolling, drained, true, roundrobin},
	{"rolling-plain-leastconn", rolling, plain, false, leastconn},
	{"rolling-drained-leastconn", rolling, drained, false, leastconn},
	{"rolling-drained-leastconn-tier", rolling, drained, true, leastconn},
}

// How a server ends.
const (
	plain   = "plain"   // at once
	window  = "window"  // it has told its agents to come back in a window
	drained = "drained" // it ends its connections one by one at half of the capacity
)

const (
	roundrobin = "roundrobin"
	leastconn  = "leastconn"
)

func armNames() (names []string) {
	for _, a := range arms {
		names = append(names, a.Name)
	}
	return names
}

// crashOne kills a replica, which comes back after the outage.
func crashOne(ctx context.Context, s *stage) error {
	s.servers[0].kill()
	if err := pause(ctx, s.options.outage); err != nil {
		return err
	}
	return s.serve(ctx, 0)
}

// crashAll kills all replicas at once.
func crashAll(ctx context.Context, s *stage) error {
	for _, p := range s.servers {
		p.kill()
	}
	if err := pause(ctx, s.options.outage); err != nil {
		return err
	}
	for i := range s.servers {
		if err := s.serve(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// rolling tells one replica after the other to end, as its arm says, and goes on to the
// next when all agents are back.
func rolling(ctx context.Context, s *stage) error {
	for i, p := range s.servers {
		p.terminate()
		if err := p.wait(ctx); err != nil {
			return err
		}
		if err := pause(ctx, s.options.outage); err != nil {
			return err
		}
		if err := s.serve(ctx, i); err != nil {
			return err
		}
		if err := s.allUp(ctx); err != nil {
			return nil // an arm that never comes back is a result
		}
	}
	return nil
}

// play runs one arm with everything that it needs, and ends all of that.
func play(ctx context.Context, o options, a arm, stderr io.Writer) (result, error) {
	s, err := newStage(ctx, o, a)
	if err != nil {
		return result{}, err
	}
	defer s.close()
	show := progress(stderr, s.watch)
	defer show()
	if err := s.allUp(ctx); err != nil {
		return result{}, fmt.Errorf("the agents never came up: %w", err)
	}
	if err := pause(ctx, time.Second); err != nil { // so that the log of the tier is followed
		return result{}, err
	}
	s.begin()
	if err := a.event(ctx, s); err != nil {
		return result{}, err
	}
	_ = s.allUp(ctx)
	return s.result(), nil
}

// pause waits, or returns why not.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
