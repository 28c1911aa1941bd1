package ttlcache_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// After a restart no credential is known, and all of MaxLoads is for all: 800 agents, all
// defaults, a provider that takes half a second.
func TestRestartWithAllDefaults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second / 2}
		c := ttlcache.New(p.load, settings{TTL: ttl})
		began := time.Now()
		var agents []*call
		for i := range 800 {
			agents = append(agents, get(t.Context(), c, fmt.Sprint(i)))
		}
		for _, g := range agents {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Equal(t, 12500*time.Millisecond, time.Since(began))
	})
}

// strangersAtOnce returns how many of a flood of unknown credentials are loaded at once.
func strangersAtOnce(t *testing.T, c *ttlcache.Cache[string, string], name string) int {
	var flood []*call
	for i := range 100 {
		flood = append(flood, get(t.Context(), c, fmt.Sprint(name, i)))
	}
	synctest.Wait()
	n := c.Stats().Loading
	for _, g := range flood {
		<-g.done
	}
	return n
}

func TestReserveIsLent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: time.Hour, Jitter: -1, MaxLoads: 20, LoadTimeout: 30 * time.Second})
		known := func() {
			time.Sleep(time.Hour)
			c.Clear()
			time.Sleep(time.Nanosecond)
			require.True(t, c.Put("agent", "", time.Now()))
		}
		require.Equal(t, 20, strangersAtOnce(t, c, "nobody is known"))
		require.Equal(t, 20, strangersAtOnce(t, c, "nobody is due"))
		known()
		time.Sleep(time.Hour - time.Second - 1)
		require.Equal(t, 20, strangersAtOnce(t, c, "in time"), "their loads end before the agent is due")
		known()
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, 15, strangersAtOnce(t, c, "too late"))
		require.Equal(t, 15, strangersAtOnce(t, c, "still too late"))
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		time.Sleep(time.Hour / 2)
		require.Equal(t, 15, strangersAtOnce(t, c, "an agent has come, others may"))
	})
}

// Agents that have left are known, and due, for ever. That must not cost a quarter of the
// capacity for ever.
func TestReserveIsNotForAgentsThatHaveLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, MaxLoads: 20, LoadTimeout: 10 * time.Second})
		require.True(t, c.Put("agent", "", time.Now()))
		time.Sleep(time.Hour)
		require.Equal(t, 15, strangersAtOnce(t, c, "a"), "it may come")
		require.Equal(t, 15, strangersAtOnce(t, c, "b"))
		require.Equal(t, 20, strangersAtOnce(t, c, "c"), "after a LoadTimeout it has not")
		time.Sleep(time.Hour)
		require.Equal(t, 15, strangersAtOnce(t, c, "d"), "another flood, another chance")
	})
}

// Where known credentials are more than can be served, strangers have one turn in eight.
func TestStrangersHaveAFloor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: 30 * time.Second, Jitter: -1, MaxLoads: 4, LoadTimeout: 20 * time.Second})
		for i := range 400 {
			require.True(t, c.Put(fmt.Sprint("agent", i), "", time.Now()))
		}
		time.Sleep(30 * time.Second)
		var agents, strangers []*call
		for i := range 8 {
			agents = append(agents, get(t.Context(), c, fmt.Sprint("agent", i)))
			time.Sleep(250 * time.Millisecond)
		}
		for i := 8; i < 400; i++ { // twice of what can be served
			agents = append(agents, get(t.Context(), c, fmt.Sprint("agent", i)))
			if i%8 == 0 {
				strangers = append(strangers, get(t.Context(), c, fmt.Sprint("stranger", i)))
			}
			time.Sleep(125 * time.Millisecond)
		}
		served := func(calls []*call) (n int) {
			for _, g := range calls {
				if _, err := g.wait(); err == nil {
					n++
				}
			}
			return n
		}
		// An eighth of 4 a second for 49 s and the queue's 20 s.
		require.InDelta(t, 30, served(strangers), 5)
		require.InDelta(t, 230, served(agents), 20)
	})
}

// A renewal in the background takes no place of somebody who waits, and gives its own.
func TestRenewalDisplacesNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, MaxLoads: 1, MaxQueue: 1, Refresh: 0.5})
		require.True(t, c.Put("agent", "", time.Now()))
		time.Sleep(ttl / 2)
		running := get(t.Context(), c, "running")
		synctest.Wait()
		waiting := get(t.Context(), c, "waiting")
		synctest.Wait()
		hit := func() {
			_, err := c.Get(t.Context(), "agent")
			require.NoError(t, err)
			synctest.Wait()
		}
		hit()
		for _, g := range []*call{running, waiting} {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Zero(t, p.asks("agent"), "no place, no renewal")
		require.Zero(t, c.Stats().Shed)

		running = get(t.Context(), c, "running again")
		time.Sleep(15 * time.Second)
		<-running.done
		running = get(t.Context(), c, "and again")
		synctest.Wait()
		hit()
		require.Equal(t, 1, c.Stats().Waiting, "the renewal has found a place in the queue")
		waiting = get(t.Context(), c, "waiting again")
		for _, g := range []*call{running, waiting} {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Equal(t, 2*time.Second, waiting.took)
		require.Zero(t, p.asks("agent"), "and gave it")
		synctest.Wait()
		require.Zero(t, c.Stats().Waiting)
	})
}

// A renewal in the queue that a caller joins is a caller's load: it goes ahead of strangers,
// and gives its place to none.
func TestCallerJoinsARenewal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: 10 * time.Second}
		c := ttlcache.New(p.load, settings{TTL: ttl, Jitter: -1, MaxLoads: 1, MaxQueue: 2, Refresh: 0.5, LoadTimeout: ttl})
		require.True(t, c.Put("agent", "", time.Now()))
		time.Sleep(ttl - time.Second)
		calls := []*call{get(t.Context(), c, "running")}
		synctest.Wait()
		_, err := c.Get(t.Context(), "agent")
		require.NoError(t, err, "the hit that begins the renewal")
		calls = append(calls, get(t.Context(), c, "stranger"))
		synctest.Wait()
		require.Equal(t, 2, c.Stats().Waiting)
		time.Sleep(time.Second)
		agent := get(t.Context(), c, "agent")
		synctest.Wait()
		_, err = c.Get(t.Context(), "another")
		require.ErrorIs(t, err, ttlcache.ErrOverloaded, "there is no place to give")
		_, err = agent.wait()
		require.NoError(t, err)
		require.Equal(t, 19*time.Second, agent.took, "next, ahead of the stranger")
		for _, g := range calls {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Equal(t, 1, p.asks("agent"))
	})
}
