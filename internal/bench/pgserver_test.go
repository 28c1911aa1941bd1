package bench_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// pgServer is what dbpooltest.Server is, for clients that speak PostgreSQL's protocol
// and nothing else: it lets pgxpool take part, in a bubble too.
type pgServer struct {
	connectTime, queryTime time.Duration

	mu      sync.Mutex // guards the fields below
	refuse  bool
	clients map[net.Conn]bool
	stats   dbpooltest.Stats
}

func (s *pgServer) Refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = on
}

func (s *pgServer) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		_ = c.Close()
	}
}

func (s *pgServer) Stats() dbpooltest.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Open = len(s.clients)
	return stats
}

func (s *pgServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	login := time.NewTimer(s.connectTime)
	defer login.Stop()
	var err error
	select {
	case <-login.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Dialing--
	if err != nil {
		return nil, err
	}
	client, server := net.Pipe()
	if s.clients == nil {
		s.clients = map[net.Conn]bool{}
	}
	s.clients[server] = true
	s.stats.Opened++
	go s.serve(server)
	return client, nil
}

func (s *pgServer) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		s.stats.Refused++
		return errors.New("connection refused")
	}
	s.stats.Dialing++
	s.stats.PeakDialing = max(s.stats.PeakDialing, s.stats.Dialing)
	return nil
}

// serve answers simple queries until its client is gone.
func (s *pgServer) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.clients, c)
		s.stats.Closed++
	}()
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	for {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		msg, err := b.Receive()
		if _, ok := msg.(*pgproto3.Query); err != nil || !ok {
			return
		}
		s.mu.Lock()
		s.stats.Queries++
		s.mu.Unlock()
		if s.queryTime > 0 {
			work := time.NewTimer(s.queryTime)
			<-work.C
		}
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("UPDATE 1")})
	}
}
