package grpcconn_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/contrib/grpcconn"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// What the server says is what the client hears, and no text of the provider's.
func TestStatusCrossesTheWire(t *testing.T) {
	busy := backoff.After(1500*time.Millisecond, errors.New("secret"))
	for name, c := range map[string]struct {
		err       error
		code      codes.Code
		hint      time.Duration
		permanent bool
	}{
		"denial":                     {errBad, codes.Unauthenticated, 0, true},
		"hint":                       {busy, codes.Unavailable, 1500 * time.Millisecond, false},
		"broken":                     {errors.New("secret"), codes.Unavailable, 0, false},
		"caller left":                {context.Canceled, codes.Canceled, 0, false},
		"status of a service behind": {status.Error(codes.Unauthenticated, "secret"), codes.Unavailable, 0, false},
	} {
		st := grpcconn.ToStatus(c.err, isBad)
		require.Equal(t, c.code, status.Code(st), name)
		require.NotContains(t, st.Error(), "secret", name)
		got := grpcconn.FromStatus(st)
		require.Equal(t, c.code, status.Code(got), name)
		hint, ok := backoff.Hint(got)
		require.Equal(t, c.hint > 0, ok, name)
		require.Equal(t, c.hint, hint, name)
		stopped := backoff.Do(t.Context(), backoff.Policy{Min: 1, Max: 1, MaxAttempts: 2}, func(context.Context) error { return got })
		require.Equal(t, c.permanent, errors.Is(stopped, backoff.ErrPermanent), name)
	}
	require.NoError(t, grpcconn.ToStatus(nil, nil))
	require.NoError(t, grpcconn.FromStatus(nil))
	require.Equal(t, io.EOF, grpcconn.FromStatus(io.EOF))
	require.Equal(t, codes.Unavailable, status.Code(grpcconn.ToStatus(errBad, nil)), "no error is a denial")
}

// Both kinds of calls are answered from the cache; a bad credential is asked once, and
// none at all of nobody.
func TestAuth(t *testing.T) {
	p := &provider{}
	auth := newAuth(p, ttlcache.Config[string, string]{})
	var failed []error
	auth.OnFail = func(_ context.Context, _ string, err error) { failed = append(failed, err) }
	var seen []string
	unary := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		user, _ := grpcconn.Verdict[string](ctx)
		seen = append(seen, user)
		return h(ctx, req)
	}
	stream := func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		user, _ := grpcconn.Verdict[string](ss.Context())
		seen = append(seen, user)
		return h(srv, ss)
	}
	l := listen(t)
	_, stop := serve(t, l, grpc.ChainUnaryInterceptor(auth.Unary(), unary), grpc.ChainStreamInterceptor(auth.Stream(), stream))
	c := dial(t, l.Addr().String())

	for _, authorization := range []string{"", "alice's token", "Basic alice's token", "Bearer", "Bearer "} {
		for range 2 {
			err := check(with(t.Context(), authorization), c)
			require.Equal(t, codes.Unauthenticated, status.Code(err), authorization)
			_, err = watch(t, with(t.Context(), authorization), c)
			require.Equal(t, codes.Unauthenticated, status.Code(err), authorization)
		}
	}
	require.Zero(t, p.asked)
	for range 3 {
		err := check(with(t.Context(), "bearer stolen"), c)
		require.Equal(t, codes.Unauthenticated, status.Code(err))
		require.NotContains(t, err.Error(), "secret")
	}
	require.Equal(t, 1, p.asked)
	for range 3 {
		require.NoError(t, check(alice(t.Context()), c))
		ctx, cancel := context.WithCancel(alice(t.Context()))
		_, err := watch(t, ctx, c)
		require.NoError(t, err)
		cancel()
	}
	require.Equal(t, 2, p.asked)
	stop()
	require.Equal(t, []string{"alice", "alice", "alice", "alice", "alice", "alice"}, seen)
	require.Len(t, failed, 3)
	require.ErrorIs(t, failed[0], errBad, "OnFail gets what the client does not")

	require.PanicsWithValue(t, "grpcconn: Auth with nil Cache", func() { new(grpcconn.Auth[string]).Unary() })
	require.PanicsWithValue(t, "grpcconn: Auth with nil Cache", func() { new(grpcconn.Auth[string]).Stream() })
	_, ok := grpcconn.Verdict[string](t.Context())
	require.False(t, ok)
}

// A login frees the pending place of its connection, and so does a call without one.
func TestPendingPlacesAreFreed(t *testing.T) {
	for name, call := range map[string]func(*grpcconn.Auth[string]) func(testing.TB, string) error{
		"unary": func(*grpcconn.Auth[string]) func(testing.TB, string) error {
			return func(t testing.TB, address string) error { return check(alice(t.Context()), dial(t, address)) }
		},
		"stream": func(*grpcconn.Auth[string]) func(testing.TB, string) error {
			return func(t testing.TB, address string) error {
				_, err := watch(t, alice(t.Context()), dial(t, address))
				return err
			}
		},
		"skipped": func(a *grpcconn.Auth[string]) func(testing.TB, string) error {
			a.Skip = func(method string) bool { return method == "/grpc.health.v1.Health/Check" }
			return func(t testing.TB, address string) error { return check(t.Context(), dial(t, address)) }
		},
		"skipped stream": func(a *grpcconn.Auth[string]) func(testing.TB, string) error {
			a.Skip = func(string) bool { return true }
			return func(t testing.TB, address string) error {
				_, err := watch(t, t.Context(), dial(t, address))
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(&provider{}, ttlcache.Config[string, string]{})
			auth.Throttled = throttle(t, listener.Limits{MaxPending: 1, PendingTimeout: time.Hour})
			log := call(auth)
			serve(t, auth.Throttled, grpc.UnaryInterceptor(auth.Unary()), grpc.StreamInterceptor(auth.Stream()))
			for range 3 { // the second would wait for an hour
				require.NoError(t, log(t, auth.Throttled.Addr().String()))
			}
			require.EqualValues(t, 3, auth.Throttled.Stats().Admitted)
		})
	}
	require.False(t, grpcconn.Admit(t.Context(), nil))
}

// Who finds all slots taken hears when to come back, and who is known needs none.
func TestPacer(t *testing.T) {
	p := &provider{}
	auth := newAuth(p, ttlcache.Config[string, string]{})
	auth.Pacer, auth.Fleet = &backoff.Pacer{MaxPending: 1, Rate: 10}, 100
	l := listen(t)
	serve(t, l, grpc.UnaryInterceptor(auth.Unary()), grpc.StreamInterceptor(auth.Stream()))
	c := dial(t, l.Addr().String())
	slot, err := auth.Pacer.Enter()
	require.NoError(t, err)
	defer slot.Done()
	for range 2 {
		err = check(alice(t.Context()), c)
		require.Equal(t, codes.Unavailable, status.Code(err))
		_, ok := backoff.Hint(err)
		require.True(t, ok, "%v", err)
	}
	require.Zero(t, p.asked)
	slot.Cancel()
	require.NoError(t, check(alice(t.Context()), c))

	slot, err = auth.Pacer.Enter()
	require.NoError(t, err)
	defer slot.Cancel()
	ctx, cancel := context.WithCancel(alice(t.Context()))
	defer cancel()
	s, err := watch(t, ctx, c)
	require.NoError(t, err, "the cache knows")
	header, err := s.Header()
	require.NoError(t, err)
	window, ok := grpcconn.Window(header)
	require.True(t, ok)
	require.Equal(t, auth.Pacer.Window(100).Milliseconds(), window.Milliseconds())
}

func TestWindowRefuses(t *testing.T) {
	for _, ms := range []string{"", "-1", "0", "1.5", "99999999999", "x"} {
		_, ok := grpcconn.Window(metadata.Pairs("reconnect-window-ms", ms))
		require.False(t, ok, ms)
	}
	_, ok := grpcconn.Window(nil)
	require.False(t, ok)
}
