package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// A service is one of each: what a server of agents is made of, and an agent's client.
type service struct {
	gate      *listener.Gate
	throttled *listener.Throttled
	pacer     *backoff.Pacer
	tokens    *ttlcache.Cache[string, string]
	connector *dbpool.Connector
	db        *sql.DB
	reuse     *transport.Reuse

	server *http.Server
	served sync.WaitGroup
}

// newService returns a service that listens and has a database in memory.
func newService(ctx context.Context) (*service, error) {
	database := &dbpooltest.Server{ConnectTime: 8 * time.Millisecond, QueryTime: 3 * time.Millisecond}
	s := &service{
		pacer:     &backoff.Pacer{MaxPending: 20},
		connector: dbpool.NewConnector(database.Connector(), dbpool.Dial{}),
		reuse:     &transport.Reuse{Base: transport.New(20)},
	}
	s.tokens = ttlcache.New(s.lookUp, ttlcache.Config[string, string]{TTL: time.Minute, MaxLoads: 10})
	db, err := dbpool.Open(s.connector, dbpool.AuthPath(10))
	if err != nil {
		return nil, err
	}
	s.db = db
	s.gate, err = listener.Config{Park: true}.Reserve(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.throttled = listener.Throttle(s.gate, listener.Limits{MaxPending: 20})
	s.server = &http.Server{Handler: http.HandlerFunc(s.poll), ConnContext: listener.ConnContext}
	s.served.Go(func() { _ = s.server.Serve(s.throttled) })
	if err := s.gate.Open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// lookUp is what the cache asks: who holds the token.
func (s *service) lookUp(ctx context.Context, token string) (string, error) {
	var one int
	if err := s.db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return "", err
	}
	return "holder of " + token, nil
}

// poll answers an agent, or tells it when to come back.
func (s *service) poll(w http.ResponseWriter, r *http.Request) {
	slot, err := s.pacer.Enter()
	if err != nil {
		turnAway(w, err)
		return
	}
	defer slot.Done()
	user, err := s.tokens.Get(r.Context(), r.Header.Get("Authorization"))
	if err != nil {
		turnAway(w, err)
		return
	}
	listener.AdmitContext(r.Context())
	fmt.Fprintln(w, user)
}

func turnAway(w http.ResponseWriter, err error) {
	if d, ok := backoff.Hint(err); ok {
		transport.SetRetryAfter(w.Header(), d)
	}
	http.Error(w, "come back later", http.StatusServiceUnavailable)
}

// ask polls once, as the holder of the token.
func (s *service) ask(ctx context.Context, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.gate.Addr().String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", token)
	resp, err := (&http.Client{Transport: s.reuse}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		_, err = io.ReadAll(resp.Body)
		return err
	}
	err = errors.New(resp.Status)
	if d, ok := transport.RetryAfter(resp.Header); ok {
		err = backoff.After(d, err)
	}
	return err
}

// agent polls ten times a second until ctx is done, each hundredth time with a new token.
func (s *service) agent(ctx context.Context, name int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		_ = backoff.Do(ctx, backoff.Policy{}, func(ctx context.Context) error {
			return s.ask(ctx, fmt.Sprintf("token %d of %d", n/100, name))
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends everything and waits for it.
func (s *service) Close() error {
	err := errors.Join(s.server.Close(), s.throttled.Close())
	s.served.Wait()
	s.reuse.CloseIdleConnections()
	return errors.Join(err, s.db.Close())
}
