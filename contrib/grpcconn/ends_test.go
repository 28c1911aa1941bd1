package grpcconn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/grpcconn"
	"github.com/connhygiene/connhygiene/listener"
)

// A replica is a server that can be drained.
type replica struct {
	listener *listener.Throttled
	ends     *grpcconn.Ends
	opened   atomic.Int64 // streams
}

func newReplica(t *testing.T, opts ...grpc.ServerOption) *replica {
	t.Helper()
	r := &replica{ends: &grpcconn.Ends{Grace: 50 * time.Millisecond}}
	gate, err := listener.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r.listener = listener.Throttle(gate, listener.Limits{})
	require.NoError(t, gate.Open(t.Context()))
	count := func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		r.opened.Add(1)
		return h(srv, ss)
	}
	serve(t, r.listener, append([]grpc.ServerOption{
		grpc.Creds(r.ends.Creds(nil)),
		grpc.ChainUnaryInterceptor(r.ends.Unary()),
		grpc.ChainStreamInterceptor(r.ends.Stream(), count),
	}, opts...)...)
	return r
}

// A whole fleet moves from one replica to the next: agents with a stream each, and
// clients that call without a pause. No call fails, each agent logs in once more, and it
// hears that it is to come back soon.
func TestDrainMovesEverybody(t *testing.T) {
	const agents, callers = 40, 10
	old, next := newReplica(t), newReplica(t)
	old.ends.Grace = 0 // 1s, since a busy machine may stop a client for a while
	var current atomic.Pointer[replica]
	current.Store(old)
	balancer := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", current.Load().listener.Addr().String())
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	var up, calls, failed, hinted atomic.Int64
	for range agents {
		c := dial(t, "passthrough:///balancer", balancer)
		all.Go(func() {
			for ctx.Err() == nil {
				s, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
				for err == nil {
					if _, err = s.Recv(); err == nil {
						up.Add(1)
					}
				}
				if d, ok := backoff.Hint(err); ok && d == 20*time.Millisecond && status.Code(err) == codes.Unavailable {
					hinted.Add(1)
				}
			}
		})
	}
	for range callers {
		c := dial(t, "passthrough:///balancer", balancer)
		all.Go(func() {
			for ctx.Err() == nil {
				if err := check(ctx, c); err == nil {
					calls.Add(1)
				} else if ctx.Err() == nil {
					failed.Add(1)
					t.Errorf("a call failed: %v", err)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return up.Load() == agents && calls.Load() > 100 }, patience, time.Millisecond)

	current.Store(next)
	limited, stop := context.WithTimeout(ctx, patience)
	defer stop()
	require.NoError(t, old.listener.Drain(limited, 200, old.ends.End))
	moved := calls.Load()
	require.Eventually(t, func() bool { return up.Load() == 2*agents && calls.Load() > moved+100 }, patience, time.Millisecond)
	cancel()
	all.Wait()
	require.Zero(t, failed.Load())
	require.EqualValues(t, agents, hinted.Load(), "each stream ended with a hint")
	require.EqualValues(t, agents, old.opened.Load(), "no stream came back to where it had been")
	require.EqualValues(t, agents, next.opened.Load())
	require.EqualValues(t, agents+callers, old.listener.Stats().Drained)
}

// A handler that looks at Leaving has time for a last word, and one that looks at its
// context ends with it.
func TestLeaving(t *testing.T) {
	var leaving, cause error
	said := make(chan struct{})
	r := newReplica(t, grpc.ChainStreamInterceptor(func(_ any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
		require.NoError(t, ss.SendMsg(&healthpb.HealthCheckResponse{}))
		<-grpcconn.Leaving(ss.Context())
		leaving = ss.Context().Err()
		require.NoError(t, ss.SendMsg(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}))
		<-ss.Context().Done()
		cause = context.Cause(ss.Context())
		close(said)
		return ss.Context().Err()
	}))
	s, err := watch(t, t.Context(), dial(t, r.listener.Addr().String()))
	require.NoError(t, err)
	drained := make(chan error, 1)
	go func() { drained <- r.listener.Drain(t.Context(), 100, r.ends.End) }()
	last, err := s.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, last.GetStatus())
	_, err = s.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	<-said
	require.NoError(t, leaving, "the notice comes before the end")
	require.ErrorIs(t, cause, grpcconn.ErrLeaving)
	require.NoError(t, <-drained)
	require.Nil(t, grpcconn.Leaving(t.Context()))
}

// A handler that hears of nothing loses its connection in the end, and a call that is
// being answered does not.
func TestDeafStreamAndSlowCall(t *testing.T) {
	release, answering := make(chan struct{}), make(chan struct{})
	r := newReplica(t,
		grpc.ChainStreamInterceptor(func(_ any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
			require.NoError(t, ss.SendMsg(&healthpb.HealthCheckResponse{}))
			var m healthpb.HealthCheckRequest
			for {
				if err := ss.RecvMsg(&m); err != nil && !errors.Is(err, io.EOF) {
					return err
				} else if err != nil {
					<-ss.(interface{ Context() context.Context }).Context().Done()
					return nil
				}
			}
		}),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			close(answering)
			<-release
			return h(ctx, req)
		}))
	_, err := watch(t, t.Context(), dial(t, r.listener.Addr().String()))
	require.NoError(t, err)
	slow := make(chan error, 1)
	c := dial(t, r.listener.Addr().String())
	go func() { slow <- check(t.Context(), c) }()
	<-answering
	drained := make(chan error, 1)
	go func() { drained <- r.listener.Drain(t.Context(), 100, r.ends.End) }()
	<-time.After(300 * time.Millisecond) // three times what the stream has
	select {
	case err := <-slow:
		t.Fatalf("the call was cut: %v", err)
	default:
	}
	close(release)
	require.NoError(t, <-slow)
	require.NoError(t, <-drained)
}

// A connection that Ends does not see, such as one in its handshake, is closed.
func TestEndOfAStranger(t *testing.T) {
	ours, theirs := net.Pipe()
	new(grpcconn.Ends).End(ours)
	_, err := theirs.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// Whatever pieces the frames are written in, GOAWAY is put once, between two of them,
// and not before the first.
func FuzzGoAway(f *testing.F) {
	f.Add([]byte{0, 3, 9, 20}, uint(2), uint(7))
	f.Add([]byte{0}, uint(0), uint(1))
	f.Add([]byte{255, 0, 255}, uint(5), uint(100))
	f.Fuzz(func(t *testing.T, lengths []byte, after, piece uint) {
		if len(lengths) == 0 || len(lengths) > 50 {
			return
		}
		var stream []byte
		for i, n := range lengths {
			stream = append(stream, 0, 0, n, 0, 0, 0, 0, 0, byte(i))
			stream = append(stream, bytes.Repeat([]byte{n}, int(n))...)
		}
		raw := &recorder{}
		ends := &grpcconn.Ends{Grace: time.Hour}
		c, _, err := ends.Creds(nil).ServerHandshake(raw)
		require.NoError(t, err)
		size, rest := int(piece%300)+1, stream
		for i := uint(0); len(rest) > 0; i++ {
			if i == after%8 {
				ends.End(raw)
			}
			n := min(size, len(rest))
			written, err := c.Write(rest[:n])
			require.NoError(t, err)
			require.Equal(t, n, written)
			rest = rest[n:]
		}
		ends.End(raw) // if it was not before; the second does nothing
		goAways, frames := 0, 0
		for out := raw.written.Bytes(); len(out) > 0; frames++ {
			length := int(binary.BigEndian.Uint32(out) >> 8)
			if out[3] == 7 {
				goAways++
				require.NotZero(t, frames, "before SETTINGS")
			}
			out = out[9+length:]
		}
		if goAways != 1 || frames != len(lengths)+1 {
			t.Fatalf("%d GOAWAY in %d frames of %d", goAways, frames, len(lengths))
		}
		require.NoError(t, c.Close())
	})
}

// A recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	written bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.written.Write(p) }
func (r *recorder) Close() error                { return nil }
func (r *recorder) RemoteAddr() net.Addr        { return &net.TCPAddr{Port: 1} }
func (r *recorder) LocalAddr() net.Addr         { return &net.TCPAddr{Port: 2} }
