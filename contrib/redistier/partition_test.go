package redistier_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/contrib/redistier"
)

// A path is a way to Redis on which all bytes vanish when it is cut, without a word to
// either end.
type path struct {
	l     net.Listener
	cut   atomic.Bool
	delay atomic.Int64 // of each packet
	older atomic.Bool  // Redis says on it that it is a 6
	conns sync.Map
	all   sync.WaitGroup
}

func newPath(t *testing.T, to string) *path {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &path{l: l}
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.conns.Store(c, true)
			p.conns.Store(r, true)
			p.all.Go(func() { p.pass(c, r) })
			p.all.Go(func() { p.pass(r, c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		p.all.Wait()
	})
	return p
}

func (p *path) pass(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if p.cut.Load() {
			continue
		}
		if p.older.Load() {
			saysSix(buffer[:n])
		}
		<-time.After(time.Duration(p.delay.Load()))
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// One replica is cut off, without a reset: what was revoked elsewhere is not served there
// any more after MaxLag, and when the path is mended it hears of it.
func TestPartition(t *testing.T) {
	s, p := redis(t), &idp{}
	road := newPath(t, s.address)
	far, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{road.l.Addr().String()}}})
	require.NoError(t, err)
	t.Cleanup(far.Close)
	a, b := cache(t, p, s.tier(t, redistier.Config{})), cache(t, p, far)
	require.NoError(t, a.WaitTier(t.Context()))
	require.NoError(t, b.WaitTier(t.Context()))
	for _, token := range []string{"x", "y"} {
		_, err = a.Get(t.Context(), token)
		require.NoError(t, err)
	}
	_, err = b.Get(t.Context(), "x")
	require.NoError(t, err)
	require.EqualValues(t, 1, b.Stats().Shared)
	_, err = b.Get(t.Context(), "own")
	require.NoError(t, err)

	road.cut.Store(true)
	began := time.Now()
	p.blocked.Store("x", true)
	p.blocked.Store("own", true)
	require.NoError(t, a.RevokeContext(t.Context(), "x"), "it is not this one that is cut off")
	require.NoError(t, a.RevokeContext(t.Context(), "own"))
	require.Eventually(t, func() bool { _, known := b.Peek("x"); return !known }, 20*time.Second, time.Millisecond)
	t.Logf("not served any more after %v", time.Since(began))
	_, err = b.Get(t.Context(), "x")
	require.ErrorIs(t, err, errDenied)
	v, err := b.Get(t.Context(), "y")
	require.NoError(t, err, "neither 401 nor 500")
	require.Equal(t, "user of y", v)
	_, known := b.Peek("own")
	require.True(t, known, "what it has asked for itself is as without a tier")

	road.cut.Store(false)
	require.Eventually(t, func() bool { _, known := b.Peek("own"); return !known }, 30*time.Second, time.Millisecond)
	t.Logf("heard of it after %v", time.Since(began))
}

// A heartbeat that was on its way for so long says nothing about now.
func TestHeartbeatThatIsOld(t *testing.T) {
	s, p := redis(t), &idp{}
	road := newPath(t, s.address)
	road.delay.Store(int64(200 * time.Millisecond))
	far, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{road.l.Addr().String()}}})
	require.NoError(t, err)
	t.Cleanup(far.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	require.ErrorIs(t, cache(t, p, far).WaitTier(ctx), context.DeadlineExceeded)
}
