package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
)

// A session is one connection of an agent: it calls up when the agent has logged in, and
// returns why it ended.
type session func(ctx context.Context, up func()) error

// plainAgent is what most clients do today.
func plainAgent(ctx context.Context, connect session) {
	for ctx.Err() == nil {
		_ = connect(ctx, func() {})
		pause(ctx, time.Second)
	}
}

// politeAgent backs off exponentially with jitter while logins fail, and spreads its
// return after the loss of a good session over 5 s.
func politeAgent(ctx context.Context, connect session) {
	b := backoff.Backoff{
		Policy: backoff.Policy{Max: 5 * time.Second},
		Splay:  5 * time.Second,
	}
	for b.Next(ctx) {
		b.Fail(connect(ctx, b.Up))
	}
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// A fleet is all agents.
type fleet struct {
	attempts atomic.Int64
	running  sync.WaitGroup
}

func startFleet(ctx context.Context, s step, dial dialer) *fleet {
	f := &fleet{}
	for i := range agents {
		f.running.Go(func() {
			t := transport.New(1)
			t.DialContext = dial
			defer t.CloseIdleConnections()
			client := &http.Client{Transport: t}
			s.agent(ctx, func(ctx context.Context, up func()) error {
				f.attempts.Add(1)
				return stream(ctx, client, fmt.Sprint("token-", i), up)
			})
		})
	}
	return f
}

func (f *fleet) wait() { f.running.Wait() }

// stream logs in and reads until the stream ends.
func stream(ctx context.Context, client *http.Client, token string, up func()) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://server/stream", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	up()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
