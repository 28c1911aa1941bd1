package grpcconn_test

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/connhygiene/connhygiene/contrib/grpcconn"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// What the package comment shows. The examples run it.
var _ = func(ctx context.Context, l net.Listener, cache *ttlcache.Cache[string, string], config *tls.Config) error {
	throttled := listener.Throttle(l, listener.Limits{MaxPending: 20})
	auth := &grpcconn.Auth[string]{Cache: cache, Throttled: throttled}
	ends := &grpcconn.Ends{}
	server := grpc.NewServer(
		grpc.Creds(ends.Creds(credentials.NewTLS(config))),
		grpc.ChainUnaryInterceptor(ends.Unary(), auth.Unary()),
		grpc.ChainStreamInterceptor(ends.Stream(), auth.Stream()),
	)
	go server.Serve(throttled)
	// ... at SIGTERM:
	err := throttled.Drain(ctx, 30, ends.End)
	server.Stop()
	return err
}
