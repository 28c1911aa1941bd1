package grpcconn

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// UnaryClient returns an interceptor that passes the errors of calls through
// [FromStatus], so that [backoff.Retry] around a call obeys the server.
func UnaryClient() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return FromStatus(invoke(ctx, method, req, reply, cc, opts...))
	}
}

// StreamClient returns an interceptor that passes the errors of streams through
// [FromStatus]: those of the call, and of Header, SendMsg, RecvMsg and CloseSend.
// io.EOF stays io.EOF.
func StreamClient() grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, FromStatus(err)
		}
		return clientStream{s}, nil
	}
}

type clientStream struct{ grpc.ClientStream }

func (s clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, FromStatus(err)
}

func (s clientStream) SendMsg(m any) error { return FromStatus(s.ClientStream.SendMsg(m)) }
func (s clientStream) RecvMsg(m any) error { return FromStatus(s.ClientStream.RecvMsg(m)) }
func (s clientStream) CloseSend() error    { return FromStatus(s.ClientStream.CloseSend()) }

// windowKey is the name of the header in which a server announces how long its whole
// fleet needs to come back, in milliseconds.
const windowKey = "reconnect-window-ms"

// Window returns the window that a server with Auth.Fleet has announced in the header of
// a stream or a call, for [backoff.Backoff.SetWindow]. It reports false if there is none,
// or no number of milliseconds above 0 that fits into 31 bits.
func Window(header metadata.MD) (time.Duration, bool) {
	for _, ms := range header.Get(windowKey) {
		if n, err := strconv.ParseInt(ms, 10, 32); err == nil && n > 0 {
			return time.Duration(n) * time.Millisecond, true
		}
	}
	return 0, false
}

func windowHeader(w time.Duration) metadata.MD {
	return metadata.Pairs(windowKey, strconv.FormatInt(w.Milliseconds(), 10))
}
