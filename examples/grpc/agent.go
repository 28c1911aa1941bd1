package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/grpcconn"
)

const (
	pingEvery    = 20 * time.Second // a server that vanished is noticed within 25s
	pingPatience = 5 * time.Second
	loginWithin  = 15 * time.Second // the server's queue is part of it
)

var (
	errLeaving = errors.New("the server is leaving")
	errNoLogin = fmt.Errorf("no login within %v", loginWithin)
)

// An agent holds one stream to its server, and comes back when it is lost.
type agent struct {
	address, token string
	backoff        backoff.Backoff
	onUp           func() // called when it is logged in; may be nil
}

func newAgent(address, token string) *agent {
	return &agent{address: address, token: token, backoff: backoff.Backoff{
		// Spreads the fleet even if the server never told it a window.
		Splay: time.Second,
	}}
}

// run holds the stream until ctx is done or the token is refused.
func (a *agent) run(ctx context.Context) error {
	for a.backoff.Next(ctx) {
		a.backoff.Fail(a.session(ctx))
	}
	return a.backoff.Err()
}

// session connects, logs in, and returns when the stream is lost.
//
// Each has a ClientConn of its own, which ends with it: one that stays would reconnect
// by itself, after exactly a second and so together with the whole fleet, whatever
// the server has asked for.
func (a *agent) session(ctx context.Context) error {
	conn, err := grpc.NewClient(
		a.address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingPatience}),
		grpc.WithDisableServiceConfig(), // no retries but ours
		grpc.WithStreamInterceptor(grpcconn.StreamClient()),
	)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token))
	defer cancel(nil)
	// Only the login has a deadline: the stream has none.
	login := time.AfterFunc(loginWithin, func() { cancel(errNoLogin) })
	defer login.Stop()

	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{Service: agents})
	if err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		switch {
		case err != nil && errors.Is(context.Cause(ctx), errNoLogin):
			return errNoLogin
		case err != nil:
			return err
		case answer.GetStatus() != healthpb.HealthCheckResponse_SERVING:
			return errLeaving
		}
		if login.Stop() {
			a.up(stream)
		}
	}
}

// up takes what the server has announced.
func (a *agent) up(stream grpc.ClientStream) {
	a.backoff.Up()
	if header, err := stream.Header(); err == nil {
		if window, ok := grpcconn.Window(header); ok {
			a.backoff.SetWindow(window)
		}
	}
	if a.onUp != nil {
		a.onUp()
	}
}
