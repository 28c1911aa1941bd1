// Package grpcconn connects connhygiene with gRPC: authentication behind a cache, load
// shedding that tells clients when to come back, admission for a listener's limits, and
// a graceful shutdown that ends connections at a pace, without touching handlers.
//
// # Usage
//
// On the server, [Auth] answers each call from an auth cache, and [Ends] lets
// [listener.Throttled.Drain] end connections one by one:
//
//	throttled := listener.Throttle(l, listener.Limits{MaxPending: 20})
//	auth := &grpcconn.Auth[string]{Cache: cache, Throttled: throttled}
//	ends := &grpcconn.Ends{}
//	server := grpc.NewServer(
//		grpc.Creds(ends.Creds(credentials.NewTLS(config))),
//		grpc.ChainUnaryInterceptor(ends.Unary(), auth.Unary()),
//		grpc.ChainStreamInterceptor(ends.Stream(), auth.Stream()),
//	)
//	go server.Serve(throttled)
//	// ... at SIGTERM:
//	err := throttled.Drain(ctx, 30, ends.End)
//	server.Stop()
//
// On the client, [UnaryClient] and [StreamClient] mark the errors of calls for package
// backoff: a server's RetryInfo is a hint, a refused credential is permanent.
//
// An agent that holds one stream makes a grpc.ClientConn per session and closes it with
// the session: one that stays reconnects by itself, on gRPC's own schedule, which knows
// neither hints nor the fleet.
//
// # When not to use it
//
// A server whose clients are few and whose calls are short needs none of this:
// GracefulStop and gRPC's own retries are enough. [Ends] sees HTTP/2 frames of grpc-go's
// own transport, so it does nothing for a grpc.Server that is used as an http.Handler;
// [listener.HTTPEnd] does it there.
package grpcconn
