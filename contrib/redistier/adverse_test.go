package redistier_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// servesAll requires that n Gets succeed, be there a tier or not.
func servesAll(t *testing.T, c *ttlcache.Cache[string, string], name string, n int) {
	t.Helper()
	for i := range n {
		token := fmt.Sprint(name, i)
		v, err := c.Get(t.Context(), token)
		require.NoError(t, err, "neither 401 nor 500")
		require.Equal(t, "user of "+token, v)
	}
}

// With a Redis that takes none of its commands a cache is as without a tier, and Check says
// why.
func TestRedisThatRefuses(t *testing.T) {
	t.Parallel()
	s := redis(t)
	user := 0
	// allowed returns a client of a user who may do everything but that.
	allowed := func(except ...string) redistier.Config {
		user++
		name := fmt.Sprint("user", user)
		rules := append([]string{"ACL", "SETUSER", name, "on", ">secret", "~{ttlcache}:*", "+@all"}, except...)
		require.NoError(t, s.do(t, rules...).Error())
		return redistier.Config{Option: rueidis.ClientOption{Username: name, Password: "secret"}}
	}
	require.NoError(t, s.tier(t, allowed()).Check(t.Context()))
	require.NoError(t, s.tier(t, allowed("-@all", "+eval", "+evalsha", "+info", "+time", "+hmget", "+hget", "+hset", "+exists", "+get", "+set",
		"+pttl", "+del", "+xadd", "+xlen", "+xtrim", "+xrange", "+xrevrange", "+xread", "+client", "+hello", "+ping",
		"+zadd", "+zrem", "+zcard", "+zremrangebyscore", "+pexpire")).Check(t.Context()), "what the package comment says is enough")
	for name, test := range map[string]struct {
		config redistier.Config
		fault  string
	}{
		"no password":    {redistier.Config{Option: rueidis.ClientOption{Username: "user1"}}, "WRONGPASS"},
		"wrong password": {redistier.Config{Option: rueidis.ClientOption{Username: "user1", Password: "wrong"}}, "WRONGPASS"},
		"other keys":     {allowed("resetkeys", "~other:*"), "NOPERM"},
		"another prefix": {redistier.Config{Prefix: "other", Option: allowed().Option}, "NOPERM"},
		"no eval":        {allowed("-eval"), "NOPERM"},
		"no evalsha":     {allowed("-evalsha"), "NOPERM"},
		"no info":        {allowed("-info"), "can't run this command"},
		"no xread":       {allowed("-xread"), "NOPERM"},
		"no xadd":        {allowed("-xadd"), "can't run this command"},
		"no set":         {allowed("-set"), "can't run this command"},
		"no hset":        {allowed("-hset"), "can't run this command"},
		"no del":         {allowed("-del"), "can't run this command"},
		"only reads":     {allowed("-@write"), "can't run this command"},
	} {
		tier := s.tier(t, test.config)
		require.ErrorContains(t, tier.Check(t.Context()), test.fault, name)
		p := &idp{}
		c := cache(t, p, tier)
		servesAll(t, c, name, 5)
		p.blocked.Store(name+"0", true)
		c.Revoke(name + "0")
		_, err := c.Get(t.Context(), name+"0")
		require.ErrorIs(t, err, errDenied, name)
		if name != "no xread" { // then the log is read at each heartbeat
			require.Positive(t, c.Stats().TierFailed, name)
		}
		require.Zero(t, c.Stats().Failed, name)
		c.Close()
		tier.Close()
	}
}

// No memory is left: what is there is served, what is new is asked for, and what is revoked
// is revoked everywhere, though Redis has to take memory for that.
func TestCachesOverFullMemory(t *testing.T) {
	t.Parallel()
	s, p := redis(t, "--maxmemory-policy", "noeviction"), &idp{}
	a, b := cache(t, p, s.tier(t, redistier.Config{})), cache(t, p, s.tier(t, redistier.Config{}))
	hears(t, b, a)
	servesAll(t, a, "warm", 100)
	require.NoError(t, s.do(t, "CONFIG", "SET", "maxmemory", "1").Error())
	asked := p.asked.Load()
	servesAll(t, b, "warm", 100)
	require.Equal(t, asked, p.asked.Load(), "what is kept is found")
	servesAll(t, b, "new", 100)
	servesAll(t, a, "new", 100)
	for i := range 50 {
		p.blocked.Store(fmt.Sprint("warm", i), true)
		if i%2 == 0 {
			require.NoError(t, a.RevokeContext(t.Context(), fmt.Sprint("warm", i)))
		} else {
			require.NoError(t, a.RevokeTag(t.Context(), fmt.Sprint("user of warm", i)))
		}
	}
	require.Eventually(t, func() bool { _, known := b.Peek("warm49"); return !known }, 20*time.Second, time.Millisecond)
	restarted := cache(t, p, s.tier(t, redistier.Config{}))
	require.NoError(t, restarted.WaitTier(t.Context()), "heartbeats need no memory")
	for _, c := range []*ttlcache.Cache[string, string]{a, b, restarted} {
		for i := range 50 {
			_, err := c.Get(t.Context(), fmt.Sprint("warm", i))
			require.ErrorIs(t, err, errDenied)
		}
		require.Zero(t, c.Stats().TierFailed)
	}
	a.Clear()
	require.Eventually(t, func() bool { _, known := b.Peek("warm99"); return !known }, 20*time.Second, time.Millisecond)
}

// A cold Redis without memory is one that keeps nothing.
func TestColdRedisWithoutMemory(t *testing.T) {
	t.Parallel()
	s, p := redis(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction"), &idp{}
	tier := s.tier(t, redistier.Config{})
	require.NoError(t, tier.Check(t.Context()))
	c := cache(t, p, tier)
	require.NoError(t, c.WaitTier(t.Context()))
	servesAll(t, c, "any", 100)
	require.Zero(t, c.Stats().TierFailed)
	require.NoError(t, c.RevokeContext(t.Context(), "any1"))
}

// Keys vanish all the time, those of the log and of leases among them: no Get fails, and
// nothing that was revoked is served.
func TestRedisThatEvicts(t *testing.T) {
	t.Parallel()
	s, p := redis(t, "--maxmemory-policy", "allkeys-random", "--maxmemory-samples", "1"), &idp{}
	a, b := cache(t, p, s.tier(t, redistier.Config{})), cache(t, p, s.tier(t, redistier.Config{}))
	hears(t, b, a)
	info, err := s.do(t, "INFO", "memory").ToString()
	require.NoError(t, err)
	var used int
	_, rest, _ := strings.Cut(info, "used_memory:")
	_, err = fmt.Sscan(rest, &used)
	require.NoError(t, err)
	require.NoError(t, s.do(t, "CONFIG", "SET", "maxmemory", fmt.Sprint(used+200_000)).Error())
	const rounds, each = 30, 60
	for round := range rounds {
		name := fmt.Sprint("round ", round, " ")
		servesAll(t, a, name, each)
		servesAll(t, b, name, each)
		for i := range 5 {
			p.blocked.Store(fmt.Sprint(name, i), true)
			require.NoError(t, a.RevokeContext(t.Context(), fmt.Sprint(name, i)))
		}
		deadline := time.Now().Add(ttlcache.MaxLag)
		for i := range 5 {
			for {
				_, err := b.Get(t.Context(), fmt.Sprint(name, i))
				if err != nil {
					require.ErrorIs(t, err, errDenied)
					break
				}
				require.True(t, time.Now().Before(deadline), "served for more than MaxLag")
			}
		}
	}
	stats, err := s.do(t, "INFO", "stats").ToString()
	require.NoError(t, err)
	require.NotContains(t, stats, "evicted_keys:0\r", "nothing was evicted")
	require.Zero(t, a.Stats().Failed+b.Stats().Failed)
}

// A server that is too old is named, and the cache is as without it. It is a real one
// that says another version.
func TestCacheOverAnOldServer(t *testing.T) {
	t.Parallel()
	s, p := redis(t), &idp{}
	road := newPath(t, s.address)
	road.older.Store(true)
	tier, err := redistier.New(redistier.Config{Option: rueidis.ClientOption{InitAddress: []string{road.l.Addr().String()}}})
	require.NoError(t, err)
	t.Cleanup(tier.Close)
	require.ErrorContains(t, tier.Check(t.Context()), "takes Redis 7.0")
	var told atomic.Pointer[string]
	c := ttlcache.New(p.load, ttlcache.Config[string, string]{
		TTL: time.Minute, Tier: tier, Secret: make([]byte, 32),
		OnEvent: func(e ttlcache.Event) {
			if e.Kind == ttlcache.TierFailed {
				why := e.Err.Error()
				told.Store(&why)
			}
		},
	})
	t.Cleanup(c.Close)
	servesAll(t, c, "any", 20)
	require.Eventually(t, func() bool { return told.Load() != nil }, 20*time.Second, time.Millisecond)
	require.Contains(t, *told.Load(), "takes Redis 7.0")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.WaitTier(ctx), context.DeadlineExceeded)
}

// saysSix changes what INFO says about the version.
func saysSix(b []byte) {
	for {
		_, rest, found := bytes.Cut(b, []byte("redis_version:"))
		if !found {
			return
		}
		copy(rest, "6")
		b = rest
	}
}

// A master that is cut off from its replicas, if it was told to need them, gives no
// heartbeat: what is revoked on the next master may be unknown to it.
func TestMasterThatHasLostItsReplicas(t *testing.T) {
	t.Parallel()
	s, p := redis(t), &idp{}
	a, b := cache(t, p, s.tier(t, redistier.Config{})), cache(t, p, s.tier(t, redistier.Config{}))
	hears(t, b, a)
	servesAll(t, a, "x", 1)
	servesAll(t, b, "x", 1)
	require.NoError(t, s.do(t, "CONFIG", "SET", "min-replicas-to-write", "1").Error())
	require.ErrorContains(t, s.tier(t, redistier.Config{}).Check(t.Context()), "NOREPLICAS")
	require.Eventually(t, func() bool { _, known := b.Peek("x0"); return !known }, 20*time.Second, time.Millisecond)
	servesAll(t, b, "x", 1)
	require.NoError(t, s.do(t, "CONFIG", "SET", "min-replicas-to-write", "0").Error())
	before := b.Stats().Shared
	require.Eventually(t, func() bool {
		servesAll(t, a, fmt.Sprint("later ", time.Now().UnixNano()), 1)
		hears(t, b, a)
		return b.Stats().Shared > before
	}, 20*time.Second, 10*time.Millisecond)
}
