package grpcconn

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// Auth authenticates calls through a cache. Its interceptors answer a call without a
// valid credential with Unauthenticated, and one that cannot be looked up now with
// Unavailable and RetryInfo, see [ToStatus]; the handler is not called. A handler reads
// the verdict with [Verdict].
//
// The fields are not to be changed once an interceptor is in use. Interceptors may be
// called by any number of goroutines.
type Auth[V any] struct {
	// Cache returns the verdict on a credential. Its Config.Denied says which errors are
	// denials. Nil panics in Unary and Stream.
	Cache *ttlcache.Cache[string, V]
	// Credential returns the credential of a call, "" if there is none, which is answered
	// Unauthenticated without asking the cache. Nil takes the first value of the metadata
	// authorization, which must have the scheme Bearer.
	Credential func(ctx context.Context) string
	// Skip reports whether the method, such as "/grpc.health.v1.Health/Check", needs no
	// login. Nil: none is skipped.
	Skip func(method string) bool
	// Throttled is the listener whose pending places are freed: by a call that has logged
	// in, and by one that needs no login once it is answered, so that health checkers
	// hold no places. Nil: none.
	Throttled *listener.Throttled
	// Pacer bounds the calls that must be looked up, and tells the others when to come
	// back. A credential that the cache knows needs no slot. Nil: no bound but the cache's.
	Pacer *backoff.Pacer
	// Fleet is how many clients there are. Streams then get a header that announces how
	// long all of them need to come back at Pacer's rate, for [Window]. Zero or negative,
	// or Pacer nil: no announcement.
	Fleet int
	// OnFail is called with the error of each login that failed, before it becomes a
	// status, on the goroutine of the call. Nil: not called.
	OnFail func(ctx context.Context, method string, err error)
}

// Unary returns the interceptor for calls with one request and one answer.
func (a *Auth[V]) Unary() grpc.UnaryServerInterceptor {
	a.check()
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if a.Skip != nil && a.Skip(info.FullMethod) {
			defer Admit(ctx, a.Throttled)
			return handler(ctx, req)
		}
		ctx, err := a.login(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// Stream returns the interceptor for streams.
func (a *Auth[V]) Stream() grpc.StreamServerInterceptor {
	a.check()
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if a.Skip != nil && a.Skip(info.FullMethod) {
			Admit(ss.Context(), a.Throttled)
			return handler(srv, ss)
		}
		ctx, err := a.login(ss.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		if a.Fleet > 0 && a.Pacer != nil {
			if err := ss.SetHeader(windowHeader(a.Pacer.Window(a.Fleet))); err != nil {
				return err
			}
		}
		return handler(srv, serverStream{ss, ctx})
	}
}

func (a *Auth[V]) check() {
	if a.Cache == nil {
		panic("grpcconn: Auth with nil Cache")
	}
}

// login returns the context that holds the verdict, or a status.
func (a *Auth[V]) login(ctx context.Context, method string) (context.Context, error) {
	credential := bearer
	if a.Credential != nil {
		credential = a.Credential
	}
	cred := credential(ctx)
	if cred == "" {
		return nil, status.Error(codes.Unauthenticated, "no credential")
	}
	v, err := a.ask(ctx, cred)
	if err != nil {
		if a.OnFail != nil {
			a.OnFail(ctx, method, err)
		}
		return nil, ToStatus(err, a.denied)
	}
	Admit(ctx, a.Throttled)
	return context.WithValue(ctx, verdictKey[V]{}, v), nil
}

func (a *Auth[V]) denied(err error) bool {
	code, _ := a.Cache.Status(err)
	return code == http.StatusUnauthorized
}

func (a *Auth[V]) ask(ctx context.Context, cred string) (v V, err error) {
	if a.Pacer == nil {
		return a.Cache.Get(ctx, cred)
	}
	if _, known := a.Cache.Peek(cred); known {
		return a.Cache.Get(ctx, cred) // and not what Peek says: a hit is counted, and may renew
	}
	slot, err := a.Pacer.Enter()
	if err != nil {
		return v, err
	}
	defer slot.Cancel() // also if the lookup panics; nothing after Done
	v, err = a.Cache.Get(ctx, cred)
	if err == nil {
		slot.Done()
	}
	return v, err
}

func bearer(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) == 0 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

type verdictKey[V any] struct{}

// Verdict returns the verdict of the cache of an [Auth] of the same type on the call's
// credential. It reports false outside of a call that has logged in.
func Verdict[V any](ctx context.Context) (V, bool) {
	v, ok := ctx.Value(verdictKey[V]{}).(V)
	return v, ok
}

// Admit frees the pending place of the connection that a call came over: it has logged
// in. It finds the connection by the peer's address. It reports whether there was a
// pending connection from there; false if t is nil.
func Admit(ctx context.Context, t *listener.Throttled) bool {
	p, ok := peer.FromContext(ctx)
	return ok && t != nil && p.Addr != nil && t.AdmitAddr(p.Addr)
}

// serverStream is a stream with a context of ours.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a ServerStream has one
}

func (s serverStream) Context() context.Context { return s.ctx }
