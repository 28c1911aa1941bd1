//go:build linux

package integration_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/internal/integration/service"
	"github.com/connhygiene/connhygiene/ttlcache"
)

var errTokenEnded = errors.New("token ended")

// labProvider answers every token until it is told that one has ended.
type labProvider struct{ ended sync.Map }

func (p *labProvider) load(_ context.Context, token string) (string, error) {
	if _, ended := p.ended.Load(token); ended {
		return "", errTokenEnded
	}
	return "user of " + token, nil
}

// labReplica returns a cache over Redis at addr that has heard the log.
func labReplica(t *testing.T, p *labProvider, addr string) *ttlcache.Cache[string, string] {
	t.Helper()
	tier, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{addr}}})
	require.NoError(t, err)
	t.Cleanup(tier.Close)
	c := ttlcache.New(p.load, ttlcache.Config[string, string]{
		TTL: 10 * time.Minute, Tier: tier, Secret: []byte("a secret of at least 32 bytes, for a test"),
		Denied: func(err error) bool { return errors.Is(err, errTokenEnded) },
	})
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, c.WaitTier(ctx))
	return c
}

// startRedis starts a Redis that answers at every address of the lab.
func startRedis(t *testing.T, port string) {
	t.Helper()
	program := service.Find(t, "redis-server", "redis-server")
	cmd := exec.Command(program, "--port", port, "--bind", "0.0.0.0", "--protected-mode", "no",
		"--save", "", "--appendonly", "no", "--dir", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond)
}

// Packets between one replica and Redis vanish, and a token is revoked on another: what
// came through the tier is not served after MaxLag, all else is answered by the provider,
// and once packets arrive the replica hears what it has missed.
func TestLabTierPartition(t *testing.T) {
	service.Find(t, "redis-server", "redis-server")
	inLab(t, func(l *lab) {
		startRedis(t, "7006")
		p := &labProvider{}
		a, b := labReplica(t, p, "127.0.0.1:7006"), labReplica(t, p, "127.0.0.2:7006")
		get := func(c *ttlcache.Cache[string, string], token string) {
			t.Helper()
			v, err := c.Get(t.Context(), token)
			require.NoError(t, err, "neither 401 nor 500")
			require.Equal(t, "user of "+token, v)
		}
		for _, token := range []string{"x", "y"} {
			get(a, token)
		}
		require.Eventually(t, func() bool { // the answer is shared beside the Get
			c := labReplica(t, p, "127.0.0.1:7006")
			get(c, "x")
			get(c, "y")
			return c.Stats().Shared == 2
		}, 20*time.Second, 10*time.Millisecond)
		get(b, "x")
		get(b, "y")
		require.EqualValues(t, 2, b.Stats().Shared)
		get(b, "own")

		l.blackhole("127.0.0.2:7006")
		p.ended.Store("x", true)
		p.ended.Store("own", true)
		require.NoError(t, a.RevokeContext(t.Context(), "x"), "it is not this one that is cut off")
		require.NoError(t, a.RevokeContext(t.Context(), "own"))
		revoked := time.Now()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			began := time.Now()
			_, err := b.Get(t.Context(), "x")
			if err != nil {
				require.ErrorIs(t, err, errTokenEnded)
				break
			}
			require.Less(t, began.Sub(revoked), ttlcache.MaxLag, "revoked, and served")
			<-tick.C
		}
		t.Logf("refused %v after it was revoked", time.Since(revoked))
		get(b, "y")
		get(b, "new")
		_, known := b.Peek("own")
		require.True(t, known, "what it has asked for itself is as without a tier")

		l.heal()
		healed := time.Now()
		require.Eventually(t, func() bool { _, known := b.Peek("own"); return !known }, 30*time.Second, time.Millisecond)
		t.Logf("heard of it %v after packets arrived again", time.Since(healed))
		_, err := b.Get(t.Context(), "own")
		require.ErrorIs(t, err, errTokenEnded)
	})
}
