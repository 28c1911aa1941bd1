package redistier_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

var key = [32]byte{1, '\n', 0, ':'}

func TestTierKeepsTheLaws(t *testing.T) {
	ttlcachetest.CheckTier(t, redis(t).tier(t, redistier.Config{}))
}

func TestNewRefuses(t *testing.T) {
	_, err := redistier.New(redistier.Config{})
	require.ErrorContains(t, err, "InitAddress")
	_, err = redistier.New(redistier.Config{Prefix: "a{b", Option: rueidis.ClientOption{InitAddress: []string{"x:1"}}})
	require.ErrorContains(t, err, "Prefix")
}

// put keeps text under key and returns the lease that it was put under.
func put(t *testing.T, tier ttlcache.Tier, text string) uint64 {
	t.Helper()
	_, _, lease, err := tier.Get(t.Context(), key)
	require.NoError(t, err)
	require.NoError(t, tier.Put(t.Context(), key, lease, []byte(text), time.Minute))
	return lease
}

func kept(t *testing.T, tier ttlcache.Tier) (string, uint64) {
	t.Helper()
	sealed, _, lease, err := tier.Get(t.Context(), key)
	require.NoError(t, err)
	return string(sealed), lease
}

func TestLostMemoryIsNoLease(t *testing.T) {
	s := redis(t)
	tier := s.tier(t, redistier.Config{})
	for _, loss := range [][]string{
		{"FLUSHALL"}, {"DEL", "{ttlcache}:era"}, {"DEL", "{ttlcache}:log"}, {"UNLINK", "{ttlcache}:era", "{ttlcache}:log"},
	} {
		put(t, tier, "x")
		require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{Keys: [][32]byte{{9}}}))
		_, lease := kept(t, tier)
		require.NoError(t, s.do(t, loss...).Error())
		require.ErrorIs(t, tier.Put(t.Context(), key, lease, []byte("y"), time.Minute), ttlcache.ErrNoLease, loss)
		text, next := kept(t, tier)
		require.Empty(t, text, "%v: a value of a memory that was lost", loss)
		require.Greater(t, next, lease, loss)
	}
}

func TestEvictedLeaseIsNone(t *testing.T) {
	s := redis(t)
	tier := s.tier(t, redistier.Config{})
	_, lease := kept(t, tier)
	names, err := s.do(t, "KEYS", "{ttlcache}:l:*").AsStrSlice()
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.NoError(t, s.do(t, "DEL", names[0]).Error())
	require.ErrorIs(t, tier.Put(t.Context(), key, lease, []byte("y"), time.Minute), ttlcache.ErrNoLease)
}

func TestLeaseEnds(t *testing.T) {
	tier := redis(t).tier(t, redistier.Config{Lease: 20 * time.Millisecond})
	_, lease := kept(t, tier)
	require.Eventually(t, func() bool { _, next := kept(t, tier); return next != lease }, 10*time.Second, 5*time.Millisecond)
	require.ErrorIs(t, tier.Put(t.Context(), key, lease, []byte("y"), time.Minute), ttlcache.ErrNoLease)
}

func TestPersistIsNoEnd(t *testing.T) {
	s := redis(t)
	tier := s.tier(t, redistier.Config{})
	put(t, tier, "x")
	names, _ := s.do(t, "KEYS", "{ttlcache}:v:*").AsStrSlice()
	require.NoError(t, s.do(t, "PERSIST", names[0]).Error())
	text, _ := kept(t, tier)
	require.Equal(t, "x", text, "its seal says how long it lives")
}

func TestFullMemory(t *testing.T) {
	s := redis(t, "--maxmemory-policy", "noeviction")
	tier := s.tier(t, redistier.Config{})
	put(t, tier, "x")
	require.NoError(t, s.do(t, "CONFIG", "SET", "maxmemory", "1").Error())
	text, _ := kept(t, tier)
	require.Equal(t, "x", text, "what is there is found")
	_, _, lease, err := tier.Get(t.Context(), [32]byte{7})
	require.NoError(t, err)
	require.Zero(t, lease, "there is no memory for an answer")
	require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{Keys: [][32]byte{key}}))
	text, _ = kept(t, tier)
	require.Empty(t, text, "a revocation is carried out")
	require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{All: true}))
	require.NoError(t, tier.Check(t.Context()))
}

func TestManyKeysAreRevoked(t *testing.T) {
	tier := redis(t).tier(t, redistier.Config{})
	put(t, tier, "x")
	keys := make([][32]byte, 1201)
	for i := range keys {
		keys[i] = [32]byte{31: 1, 0: byte(i), 1: byte(i >> 8)}
	}
	keys[1200] = key
	require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{Keys: keys, Tags: [][32]byte{{5}}}))
	text, _ := kept(t, tier)
	require.Empty(t, text)
	got, tags := 0, 0
	w := follow(t, tier)
	w.until(func(r ttlcache.Revocation) bool {
		got, tags = got+len(r.Keys), tags+len(r.Tags)
		return beat(r)
	})
	require.Equal(t, 1201, got)
	require.Equal(t, 1, tags)
}

// A server that stands still carries out later what it was sent. A verdict that is kept
// so late would live longer than it may.
func TestPutThatIsCarriedOutLate(t *testing.T) {
	s := redis(t)
	tier := s.tier(t, redistier.Config{})
	w := follow(t, tier)
	w.until(beat)
	put(t, tier, "first") // Redis knows the script from now on
	require.NoError(t, tier.Revoke(t.Context(), ttlcache.Revocation{Keys: [][32]byte{key}}))
	_, lease := kept(t, tier)
	s.freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.Error(t, tier.Put(ctx, key, lease, []byte("x"), time.Minute))
	timer := time.NewTimer(700 * time.Millisecond)
	<-timer.C
	s.thaw(t)
	require.Eventually(t, func() bool {
		_, _, _, err := tier.Get(t.Context(), [32]byte{8})
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	text, _ := kept(t, tier)
	require.Empty(t, text)
}

func TestWithoutRedis(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	tier, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{l.Addr().String()}}})
	require.NoError(t, err, "a server starts without it")
	for range 3 {
		_, _, _, err = tier.Get(t.Context(), key)
		require.ErrorContains(t, err, "redistier: connect")
	}
	require.Error(t, tier.Follow(t.Context(), func(ttlcache.Revocation, uint64) {}))
	require.Error(t, tier.Check(t.Context()))
	tier.Close()
	tier.Close()
	_, _, _, err = tier.Get(t.Context(), key)
	require.ErrorIs(t, err, net.ErrClosed)
}

// An address that swallows packets must not hold up a caller.
func TestGetIsAsQuickAsItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	tier, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{
		InitAddress: []string{l.Addr().String()}, ConnWriteTimeout: time.Second,
	}})
	require.NoError(t, err)
	defer tier.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _, _, err = tier.Get(ctx, key)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	s := redis(t, "--requirepass", "right")
	_, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{s.address}}})
	require.NoError(t, err)
	require.ErrorContains(t, s.tier(t, redistier.Config{}).Check(t.Context()), "NOAUTH")
	wrong := s.tier(t, redistier.Config{Option: rueidis.ClientOption{Password: "wrong"}})
	require.ErrorContains(t, wrong.Check(t.Context()), "WRONGPASS")
	right := s.tier(t, redistier.Config{Option: rueidis.ClientOption{Password: "right"}})
	require.NoError(t, right.Check(t.Context()))
}

func TestOldServer(t *testing.T) {
	for info, ok := range map[string]bool{
		"redis_version:7.0.15\r\nx": true, "redis_version:8.0.0\r\n": true,
		"redis_version:6.2.14\r\n": false, "redis_version:x\r\n": false, "": false,
	} {
		err := redistier.VersionOf(info)
		require.Equal(t, ok, err == nil, info)
		require.True(t, ok || strings.Contains(err.Error(), "7.0"), err)
	}
}
