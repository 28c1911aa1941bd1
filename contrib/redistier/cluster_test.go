package redistier_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// A cluster is three masters, and one replica of the one that has the slot of the keys.
type cluster struct {
	masters []*server
	owner   *server // of the slot
	replica *server
}

const slots = 16384

func newCluster(t *testing.T) *cluster {
	c := &cluster{}
	for range 3 {
		c.masters = append(c.masters, node(t))
	}
	c.replica = node(t)
	slot, err := c.masters[0].command(t, "CLUSTER", "KEYSLOT", "{ttlcache}:log").AsInt64()
	require.NoError(t, err)
	for i, m := range c.masters {
		first, last := i*slots/3, (i+1)*slots/3-1
		require.NoError(t, m.command(t, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(first), fmt.Sprint(last)).Error())
		if int(slot) >= first && int(slot) <= last {
			c.owner = m
		}
	}
	all := append(c.masters[:3:3], c.replica)
	for i, n := range all {
		require.NoError(t, n.command(t, "CONFIG", "SET", "cluster-replica-validity-factor", "0").Error())
		require.NoError(t, n.command(t, "CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1)).Error())
	}
	for _, n := range all[1:] {
		require.NoError(t, n.command(t, "CLUSTER", "MEET", "127.0.0.1", fmt.Sprint(c.masters[0].port), c.masters[0].args[3]).Error())
	}
	for _, n := range all {
		n.await(t, []string{"CLUSTER", "INFO"}, "cluster_state:ok", "cluster_known_nodes:4")
	}
	id, err := c.owner.command(t, "CLUSTER", "MYID").ToString()
	require.NoError(t, err)
	require.NoError(t, c.replica.command(t, "CLUSTER", "REPLICATE", id).Error())
	c.replica.await(t, []string{"INFO", "replication"}, "role:slave", "master_link_status:up")
	for _, n := range all { // all know whom to vote for
		n.await(t, []string{"CLUSTER", "NODES"}, "slave "+id)
	}
	return c
}

// node starts a redis-server that is to be in a cluster. Its second port is free, too: the
// usual one, 10000 above the first, may be none.
func node(t *testing.T) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	bus := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, l.Close())
	return redis(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
}

// command asks this node, whoever has the key.
func (s *server) command(t *testing.T, words ...string) rueidis.RedisResult {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.address}, DisableCache: true, ForceSingleClient: true})
	require.NoError(t, err)
	defer c.Close()
	return c.Do(context.Background(), c.B().Arbitrary(words...).Build())
}

func (s *server) await(t *testing.T, words []string, wanted ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		info, err := s.command(t, words...).ToString()
		for _, w := range wanted {
			if err != nil || !strings.Contains(info, w) {
				return false
			}
		}
		return true
	}, 20*time.Second, 20*time.Millisecond, "%s: %v", words, wanted)
}

// A cluster of three: all keys are in one slot, whichever node is asked first, and its
// master may change: then everything is revoked, and no Get has failed.
func TestCluster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := newCluster(t)
	t.Logf("a cluster after %v", time.Since(began))
	var tiers []*redistier.Tier
	for _, m := range c.masters {
		tier := m.tier(t, redistier.Config{})
		require.NoError(t, tier.Check(t.Context()))
		tiers = append(tiers, tier)
	}
	ttlcachetest.CheckTier(t, tiers[0])

	count := make(chan int, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, tier := range tiers[:2] {
		go func() { ended <- tier.Replicas(ctx, func(n int) { count <- n }) }()
	}
	for n := 0; n != 2; {
		n = <-count
	}
	cancel()
	<-ended
	<-ended

	p := &idp{}
	a, b := cache(t, p, tiers[1]), cache(t, p, tiers[2])
	require.NoError(t, a.WaitTier(t.Context()))
	hears(t, b, a)
	for _, change := range []struct {
		name string
		do   func()
		next *server
	}{
		{"switched over", func() { require.NoError(t, c.replica.command(t, "CLUSTER", "FAILOVER").Error()) }, c.replica},
		{"killed", c.replica.kill, c.owner},
	} {
		_, err := a.Get(t.Context(), "before it is "+change.name)
		require.NoError(t, err)
		w := follow(t, tiers[0])
		w.until(beat)
		began := time.Now()
		change.do()
		w.until(all)
		t.Logf("%s: everything was revoked after %v", change.name, time.Since(began))
		change.next.await(t, []string{"INFO", "replication"}, "role:master")
		_, err = a.Get(t.Context(), "while it was "+change.name)
		require.NoError(t, err)
		hears(t, b, a)
		p.blocked.Store(change.name, true)
		// The client may still ask the node that is gone: that is an error, and tried again.
		require.Eventually(t, func() bool { return a.RevokeContext(t.Context(), change.name) == nil }, 20*time.Second, 10*time.Millisecond)
		_, err = b.Get(t.Context(), change.name)
		require.ErrorIs(t, err, errDenied)
	}
	t.Logf("%v in all", time.Since(began))
}
