package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
)

// An agent holds a stream, and comes back when it has lost it.
type agent struct {
	number   int
	url      string
	client   *http.Client
	watch    *watch
	deadline time.Duration
}

// newClient is for streams: each is a connection of its own.
func newClient() *http.Client { return &http.Client{Transport: transport.Transient()} }

// errMoved is the end of a stream whose server leaves: another one has a place.
var errMoved = errors.New("moved")

func (a agent) run(ctx context.Context) {
	var b backoff.Backoff
	for b.Next(ctx) {
		err := a.session(ctx, &b)
		a.watch.down(a.number, err)
		if errors.Is(err, errMoved) {
			err = backoff.After(20*time.Millisecond, err)
		}
		b.Fail(err)
	}
}

// session is one stream, from the login to its end.
func (a agent) session(ctx context.Context, b *backoff.Backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(a.deadline+time.Second, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/stream", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", fmt.Sprint("agent ", a.number))
	a.watch.attempt(a.number)
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		err := fmt.Errorf("status %d", res.StatusCode)
		if d, ok := transport.RetryAfter(res.Header); ok {
			return backoff.After(d, err)
		}
		return err
	}
	late.Stop()
	b.Up()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "replica":
			a.watch.up(a.number, rest)
		case "window":
			if w, err := time.ParseDuration(rest); err == nil {
				b.SetWindow(w)
			}
		case "moved":
			return errMoved
		}
	}
	return errors.Join(errors.New("the stream has ended"), lines.Err())
}
