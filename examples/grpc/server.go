package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/grpcconn"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// config is what a server is told.
type config struct {
	public, private string // addresses
	capacity        int    // logins a second that the provider does
	fleet           int    // how many agents there are; 0 announces no window
}

// A server has one of each that an agent meets on its way in: the listener, the pacer,
// the cache, and the provider behind it.
type server struct {
	config   config
	listener *listener.TwoPhase
	pacer    *backoff.Pacer
	tokens   *ttlcache.Cache[string, string]
	provider *provider

	grpc   *grpc.Server
	health *health.Server
	served sync.WaitGroup
}

// agents is the name of what agents watch.
const agents = "agents"

// start returns a server that has reached itself and is open.
func start(ctx context.Context, c config) (*server, error) {
	s := &server{config: c, provider: newProvider(c.capacity), health: health.NewServer()}
	s.pacer = &backoff.Pacer{
		MaxPending: 4 * providerTurns, // twice what is looked up at once is the least that keeps it busy
		Rate:       float64(c.capacity),
	}
	s.tokens = ttlcache.New(s.provider.lookUp, ttlcache.Config[string, string]{
		TTL:      time.Minute,
		MaxLoads: providerTurns,
		Denied:   denied,
		DenyTTL:  5 * time.Second,
	})
	two, err := listener.Config{Park: true}.ListenTwoPhase(ctx, "tcp", c.private, c.public, listener.Limits{
		// Above the pacer's, since who is turned away should hear when to come back.
		MaxPending: 4 * s.pacer.MaxPending,
	})
	if err != nil {
		return nil, err
	}
	s.listener = two
	// Agents log in before they get their stream, and free their place at the listener.
	// Calls that are no streams, such as the server's own check, pass.
	auth := &grpcconn.Auth[string]{Cache: s.tokens, Throttled: two.Public, Pacer: s.pacer, Fleet: c.fleet}
	s.grpc = grpc.NewServer(
		grpc.StreamInterceptor(auth.Stream()),
		// Agents ping to notice a server that vanished without a word; see agent.go.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery / 2, PermitWithoutStream: true}),
	)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus(agents, healthpb.HealthCheckResponse_SERVING)
	s.served.Go(func() { _ = s.grpc.Serve(two) })
	if err = s.reachItself(ctx); err == nil {
		err = two.Open(ctx)
	}
	if err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

// reachItself calls the server through its private port, which no agent can fill.
func (s *server) reachItself(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(s.listener.Private.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: agents})
	if err != nil {
		return fmt.Errorf("reaching itself: %w", err)
	}
	return nil
}

// leave ends the server in order: nobody new, agents hear that it goes and leave it,
// at most for so long.
func (s *server) leave(patience time.Duration) error {
	err := s.listener.Shut()
	s.health.Shutdown()
	cut := time.AfterFunc(patience, s.grpc.Stop)
	defer cut.Stop()
	s.grpc.GracefulStop()
	s.served.Wait()
	return err
}

// kill ends the server as a crash does.
func (s *server) kill() {
	s.grpc.Stop()
	s.served.Wait()
}
