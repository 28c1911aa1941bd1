package grpcconn_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/grpcconn"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

var errRefused = errors.New("bad token")

// start serves gRPC's own health service on a port of this machine.
func start(l net.Listener, opts ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(opts...)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	return server
}

func connect(l net.Listener) (healthpb.HealthClient, *grpc.ClientConn) {
	conn, err := grpc.NewClient(l.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(grpcconn.UnaryClient()),
		grpc.WithStreamInterceptor(grpcconn.StreamClient()))
	if err != nil {
		panic(err)
	}
	return healthpb.NewHealthClient(conn), conn
}

// A server that asks its identity provider once for each credential, and whose clients
// are told what to do.
func ExampleAuth() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	throttled := listener.Throttle(l, listener.Limits{MaxPending: 20})
	denied := func(err error) bool { return errors.Is(err, errRefused) }
	auth := &grpcconn.Auth[string]{
		Cache: ttlcache.New(func(_ context.Context, token string) (string, error) {
			if token != "secret" {
				return "", errRefused
			}
			return "alice", nil
		}, ttlcache.Config[string, string]{TTL: time.Minute, Denied: denied, DenyTTL: time.Second}),
		Throttled: throttled,
	}
	server := start(throttled, grpc.UnaryInterceptor(auth.Unary()), grpc.StreamInterceptor(auth.Stream()))
	defer server.Stop()

	client, conn := connect(l)
	defer conn.Close()
	for _, token := range []string{"secret", "stolen"} {
		ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
		err := backoff.Do(ctx, backoff.Policy{}, func(ctx context.Context) error {
			_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
			return err
		})
		fmt.Println(status.Code(err), errors.Is(err, backoff.ErrPermanent))
	}
	// Output:
	// OK false
	// Unauthenticated true
}

// At the end of a server its connections are ended at a pace, and not one call fails.
func ExampleEnds() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	throttled := listener.Throttle(l, listener.Limits{})
	ends := &grpcconn.Ends{}
	server := start(throttled,
		grpc.Creds(ends.Creds(insecure.NewCredentials())), // or credentials.NewTLS
		grpc.ChainUnaryInterceptor(ends.Unary()),
		grpc.ChainStreamInterceptor(ends.Stream()))
	defer server.Stop()

	client, conn := connect(l)
	defer conn.Close()
	_, err = client.Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println("call:", err)

	// At SIGTERM, 100 connections a second: half of what the other replicas can log in.
	fmt.Println("drain:", throttled.Drain(context.Background(), 100, ends.End))
	fmt.Println("told to end:", throttled.Stats().Drained)
	// Output:
	// call: <nil>
	// drain: <nil>
	// told to end: 1
}

// The handler of a stream says a last word when its connection is to end.
func ExampleLeaving() {
	handler := func(_ any, stream grpc.ServerStream) error {
		select {
		case <-grpcconn.Leaving(stream.Context()):
			return status.Error(codes.Unavailable, "flushed, come back")
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
	_ = handler
	fmt.Println(grpcconn.Leaving(context.Background()) == nil) // outside of a stream
	// Output: true
}

func ExampleToStatus() {
	busy := backoff.After(2*time.Second, errors.New("queue of the provider is full"))
	err := grpcconn.ToStatus(busy, nil)
	fmt.Println(err)
	// Output: rpc error: code = Unavailable desc = too many logins: come back later
}

func ExampleFromStatus() {
	err := grpcconn.ToStatus(backoff.After(2*time.Second, errors.New("busy")), nil) // over the wire
	hint, ok := backoff.Hint(grpcconn.FromStatus(err))
	fmt.Println(hint, ok)
	// Output: 2s true
}

func ExampleUnaryClient() {
	conn, err := grpc.NewClient("passthrough:///agents.example.com:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(grpcconn.UnaryClient()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(conn.Target())
	// Output: passthrough:///agents.example.com:443
}

func ExampleStreamClient() {
	conn, err := grpc.NewClient("passthrough:///agents.example.com:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStreamInterceptor(grpcconn.StreamClient()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(conn.Target())
	// Output: passthrough:///agents.example.com:443
}

func ExampleWindow() {
	header := metadata.Pairs("reconnect-window-ms", "6000") // that of a stream
	var b backoff.Backoff
	if w, ok := grpcconn.Window(header); ok {
		b.SetWindow(w)
		fmt.Println(w)
	}
	// Output: 6s
}

func ExampleVerdict() {
	handler := func(ctx context.Context) string {
		user, ok := grpcconn.Verdict[string](ctx)
		if !ok {
			return "a stranger"
		}
		return user
	}
	fmt.Println(handler(context.Background())) // not through Auth's interceptor
	// Output: a stranger
}

func ExampleAdmit() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	throttled := listener.Throttle(l, listener.Limits{MaxPending: 1})
	defer throttled.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	conn, _ := throttled.Accept()
	defer conn.Close()
	// What the context of a call over it holds:
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: conn.RemoteAddr()})
	fmt.Println(grpcconn.Admit(ctx, throttled), throttled.Stats().Pending)
	// Output: true 0
}
