package grpcconn_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/connhygiene/connhygiene/contrib/grpcconn"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute // for a machine that is busy with something else

var errBad = errors.New("bad token: secret of the provider")

func isBad(err error) bool { return errors.Is(err, errBad) }

// A provider knows who holds "alice's token".
type provider struct {
	mu    sync.Mutex
	asked int
	err   error
}

func (p *provider) lookUp(_ context.Context, token string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if token == "alice's token" {
		return "alice", p.err
	}
	return "", errBad
}

func newAuth(p *provider, c ttlcache.Config[string, string]) *grpcconn.Auth[string] {
	c.TTL, c.Denied, c.DenyTTL = time.Minute, isBad, time.Minute
	return &grpcconn.Auth[string]{Cache: ttlcache.New(p.lookUp, c)}
}

// serve runs a health server on l until the test ends, or stop is called.
func serve(t testing.TB, l net.Listener, opts ...grpc.ServerOption) (srv *health.Server, stop func()) {
	t.Helper()
	server := grpc.NewServer(opts...)
	srv = health.NewServer()
	healthpb.RegisterHealthServer(server, srv)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l) })
	stop = func() {
		server.Stop()
		served.Wait()
	}
	t.Cleanup(stop)
	return srv, stop
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func throttle(t testing.TB, lim listener.Limits) *listener.Throttled {
	t.Helper()
	return listener.Throttle(listen(t), lim)
}

// dial returns a client whose errors are marked for backoff.
func dial(t testing.TB, address string, opts ...grpc.DialOption) healthpb.HealthClient {
	t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(grpcconn.UnaryClient()),
		grpc.WithStreamInterceptor(grpcconn.StreamClient()),
	}, opts...)
	conn, err := grpc.NewClient(address, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return healthpb.NewHealthClient(conn)
}

// with adds a header to a call.
func with(ctx context.Context, authorization string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", authorization)
}

func alice(ctx context.Context) context.Context { return with(ctx, "Bearer alice's token") }

// check makes a call with one answer.
func check(ctx context.Context, c healthpb.HealthClient) error {
	_, err := c.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// watch opens a stream and waits until it is there.
func watch(t testing.TB, ctx context.Context, c healthpb.HealthClient) (healthpb.Health_WatchClient, error) {
	t.Helper()
	s, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return nil, err
	}
	_, err = s.Recv()
	return s, err
}
