package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// agent holds a stream to its server for as long as it lives.
type agent struct {
	// dial connects and logs in.
	dial func(context.Context) (stream, error)
	// woken has a value when the network is back.
	woken <-chan struct{}
	log   func(format string, args ...any)
}

// stream is what the server says; its end is an error.
type stream func() (message, error)

// message may announce how long the server's fleet needs to come back.
type message struct{ window time.Duration }

// run returns when ctx is done or the server will never have the agent.
func (a *agent) run(ctx context.Context) error {
	b := backoff.Backoff{
		Policy: backoff.Policy{Max: 15 * time.Second},
		Splay:  10 * time.Second, // 800 agents, 80 logins a second
		Wake:   a.woken,
		OnWait: func(e backoff.Event) { a.log("%v; attempt %d", e.Err, e.Attempt) },
	}
	for b.Next(ctx) {
		b.Fail(a.session(ctx, &b))
	}
	return b.Err()
}

// session is one attempt and, if it succeeds, the stream until its end.
func (a *agent) session(ctx context.Context, b *backoff.Backoff) error {
	dialing, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	next, err := a.dial(dialing)
	if err != nil {
		return err
	}
	b.Up()
	for {
		m, err := next()
		if err != nil {
			return err
		}
		b.SetWindow(m.window)
	}
}

// A reconnect loop as agents have it: the login counts and not the dial, a lost fleet
// is spread, the server may announce how long it needs.
func Example_agent() {
	dials := 0
	dial := func(context.Context) (stream, error) {
		switch dials++; dials {
		case 1:
			return nil, errors.New("connection refused")
		case 2:
			return func() (message, error) { return message{}, errors.New("stream lost") }, nil
		}
		return nil, backoff.Permanent(errors.New("agent was removed"))
	}
	woken := make(chan struct{})
	go func() { // an impatient network, which keeps the example short
		for range 2 {
			woken <- struct{}{}
		}
	}()
	a := agent{dial: dial, woken: woken, log: func(f string, args ...any) { fmt.Printf(f+"\n", args...) }}
	fmt.Println(a.run(context.Background()))
	// Output:
	// connection refused; attempt 2
	// stream lost; attempt 3
	// backoff: permanent failure after 3 attempts: agent was removed
}
