package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
)

// agent is one client with one stream.
type agent struct {
	options
	token  string
	client *http.Client
	log    *slog.Logger
}

// notice is what the server says on the stream, a line of JSON each.
type notice struct {
	Away   time.Duration `json:"away"`
	Window time.Duration `json:"window"`
}

// silence is how long the server may say nothing: three heartbeats.
const silence = 30 * time.Second

var (
	errLost   = errors.New("stream lost")
	errSilent = fmt.Errorf("nothing heard for %v", silence)
)

// run returns when ctx ends or the server will never have the agent.
func (a *agent) run(ctx context.Context) error {
	b := backoff.Backoff{
		Policy: backoff.Policy{Max: a.max},
		Splay:  a.splay,
		OnWait: func(e backoff.Event) {
			if e.Hinted { // not a failure: the server has too many logins just now
				a.log.Info("told to come back", "in", e.Delay, "answer", e.Err)
				return
			}
			a.log.Info("wait", "attempt", e.Attempt, "delay", e.Delay, "error", e.Err)
		},
	}
	for b.Next(ctx) {
		b.Fail(a.session(ctx, &b))
	}
	return b.Err()
}

// session is one attempt and, if it succeeds, the stream until its end.
func (a *agent) session(ctx context.Context, b *backoff.Backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.server+"/stream", nil)
	if err != nil {
		return backoff.Permanent(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	b.Up()
	a.log.Info("connected")
	alive := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alive.Stop()
	return a.listen(ctx, resp.Body, b, alive)
}

// refusal keeps what the server said about when to come back.
func refusal(resp *http.Response) error {
	err := errors.New(resp.Status)
	if resp.StatusCode == http.StatusUnauthorized {
		return backoff.Permanent(err) // asking again would not change that
	}
	if d, ok := transport.RetryAfter(resp.Header); ok {
		return backoff.After(d, err)
	}
	return err
}

// listen reads the stream to its end, and waits until the server is back if it said
// that it would leave.
func (a *agent) listen(ctx context.Context, stream io.Reader, b *backoff.Backoff, alive *time.Timer) error {
	var last notice
	for lines := json.NewDecoder(stream); ; {
		if err := lines.Decode(&last); err != nil {
			alive.Stop()
			return errors.Join(errLost, a.away(ctx, last.Away), context.Cause(ctx))
		}
		b.SetWindow(last.Window)
		alive.Reset(silence)
	}
}

func (a *agent) away(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	back := time.NewTimer(d)
	defer back.Stop()
	select {
	case <-back.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
