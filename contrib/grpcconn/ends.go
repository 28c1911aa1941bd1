package grpcconn

import (
	"context"
	"errors"
	"net"
	"reflect"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// ErrLeaving is the cause of the end of a stream's context whose connection ends.
var ErrLeaving = errors.New("grpcconn: the server lets this connection go")

const (
	defaultGrace = time.Second
	comeBack     = 20 * time.Millisecond // another replica is ready: there is nothing to wait for
)

// Ends ends the connections of a gRPC server one by one, for
// [listener.Throttled.Drain], Rebalance and listener.Limits.End. Handlers need not know
// of it:
//
//   - GOAWAY tells the client at once to begin no further call on the connection. Calls
//     that are on their way are served.
//   - A stream hears of it by [Leaving], and goes on for Grace. Then its context ends
//     with the cause [ErrLeaving]. If its handler returns an error after that, the client
//     gets Unavailable with a RetryInfo of 20ms.
//   - The client closes the connection when it has no more calls; the server does after
//     twice Grace, with the streams that are left. A call with one answer is finished,
//     however long that takes. A client that ignores GOAWAY and goes on calling keeps its
//     connection until the context of Drain ends.
//
// Zero is ready. Connections, calls and streams are only seen if the server has Creds,
// Unary and Stream; of those it does not see, End closes the connection. Grace is not to
// be changed once the server runs. Ends may serve several servers and is safe for
// concurrent use. It must not be copied.
type Ends struct {
	// Grace is how long a stream goes on once its connection is to end. Zero means 1s;
	// negative ends it at once.
	Grace time.Duration

	mu    sync.Mutex
	conns map[net.Conn]*conn // guarded by mu; by what Accept has returned
	peers map[string]*conn   // guarded by mu; by addresses, which is all that a call knows
}

func (e *Ends) grace() time.Duration {
	if e.Grace == 0 {
		return defaultGrace
	}
	return max(e.Grace, 0)
}

// Creds returns credentials that work as inner does and see the connections, for
// grpc.Creds. Nil is insecure.NewCredentials, for a server without transport security.
func (e *Ends) Creds(inner credentials.TransportCredentials) credentials.TransportCredentials {
	if inner == nil {
		inner = insecure.NewCredentials()
	}
	return creds{inner, e}
}

type creds struct {
	credentials.TransportCredentials
	ends *Ends
}

func (c creds) Clone() credentials.TransportCredentials {
	return creds{c.TransportCredentials.Clone(), c.ends}
}

func (c creds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	inner, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return inner, info, err
	}
	return c.ends.add(raw, inner), info, nil
}

func (e *Ends) add(raw, inner net.Conn) *conn {
	c := &conn{Conn: inner, ends: e, peer: peerKey(inner.RemoteAddr(), inner.LocalAddr()), streams: map[*stream]struct{}{}}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		e.conns, e.peers = map[net.Conn]*conn{}, map[string]*conn{}
	}
	// What Accept has returned may be inside of raw.
	for raw != nil && reflect.TypeOf(raw).Comparable() {
		e.conns[raw] = c
		c.accepted = append(c.accepted, raw)
		w, ok := raw.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		raw = w.NetConn()
	}
	if c.peer != "" {
		e.peers[c.peer] = c
	}
	return c
}

func (e *Ends) forget(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, raw := range c.accepted {
		delete(e.conns, raw)
	}
	if e.peers[c.peer] == c {
		delete(e.peers, c.peer)
	}
}

// peerKey tells connections apart by their addresses, "" where that cannot be: clients
// of a Unix socket have none.
func peerKey(remote, local net.Addr) string {
	if remote == nil || local == nil || remote.Network() == "unix" {
		return ""
	}
	return remote.Network() + " " + remote.String() + " " + local.String()
}

// of returns the connection that a call came over, or nil.
func (e *Ends) of(ctx context.Context) *conn {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	key := peerKey(p.Addr, p.LocalAddr)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers[key]
}

// End ends c, a connection that Accept of the server's listener has returned.
// It returns when GOAWAY is written or c is closed; twice Grace at most.
func (e *Ends) End(c net.Conn) {
	e.mu.Lock()
	var seen *conn
	if reflect.TypeOf(c).Comparable() {
		seen = e.conns[c]
	}
	e.mu.Unlock()
	if seen == nil { // in its handshake, or not ours
		_ = c.Close()
		return
	}
	seen.leave()
}

// Unary returns the interceptor that keeps a connection open until its calls are
// answered.
func (e *Ends) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if c := e.of(ctx); c != nil {
			c.begin()
			defer c.done()
		}
		return handler(ctx, req)
	}
}

// Stream returns the interceptor that ends the streams of a connection that is to end.
// Let it be the first, so that it sees the error that the others return at a stream's end.
func (e *Ends) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		c := e.of(ss.Context())
		if c == nil {
			return handler(srv, ss)
		}
		s := c.open(ss.Context())
		defer c.end(s)
		err := handler(srv, serverStream{ss, context.WithValue(s.ctx, leavingKey{}, s.leaving)})
		if err != nil && errors.Is(context.Cause(s.ctx), ErrLeaving) {
			return unavailable("the server lets this connection go: come back", comeBack)
		}
		return err
	}
}

type leavingKey struct{}

// Leaving returns a channel that is closed when the connection of a stream is to end, so
// that its handler can say a last word and return. It is nil, which is never closed,
// outside of a stream that [Ends] sees.
func Leaving(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(leavingKey{}).(chan struct{})
	return c
}
