package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

// replica returns a cache that shares tier, and ends with the test.
func replica(t *testing.T, p *provider, tier ttlcache.Tier, change ...func(*settings)) *ttlcache.Cache[string, string] {
	t.Helper()
	c := settings{
		TTL: time.Minute, Jitter: -1, Denied: isBad, DenyTTL: 10 * time.Second,
		Tier: tier, Secret: aSecret,
		Tags: func(v string) []string { return strings.Fields(v) },
	}
	for _, f := range change {
		f(&c)
	}
	cache := ttlcache.New(p.load, c)
	t.Cleanup(cache.Close)
	return cache
}

func must(t *testing.T, c *ttlcache.Cache[string, string], token string) {
	t.Helper()
	v, err := c.Get(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, "user of "+token, v)
}

func denied(t *testing.T, c *ttlcache.Cache[string, string], token string) {
	t.Helper()
	_, err := c.Get(t.Context(), token)
	require.ErrorIs(t, err, errBad)
}

func TestReplicasShareVerdicts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier), replica(t, p, tier)
		must(t, a, "x")
		must(t, b, "x")
		must(t, b, "x")
		require.Equal(t, 1, p.asks("x"))
		require.EqualValues(t, 1, b.Stats().Shared)
		require.EqualValues(t, 1, b.Stats().Hits)
		restarted := replica(t, p, tier)
		must(t, restarted, "x")
		require.Equal(t, 1, p.asks("x"), "a restart is no cold cache")
		_, ok := restarted.Peek("x")
		require.True(t, ok)
	})
}

func TestRevocationReachesReplicas(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier), replica(t, p, tier)
		for name, revoke := range map[string]func(token string){
			"Revoke":        func(token string) { require.True(t, a.Revoke(token)) },
			"RevokeContext": func(token string) { require.NoError(t, a.RevokeContext(t.Context(), token)) },
			"RevokeFunc": func(token string) {
				require.Equal(t, 1, a.RevokeFunc(func(v string) bool { return v == "user of "+token }))
			},
			"RevokeTag": func(token string) { require.NoError(t, a.RevokeTag(t.Context(), token)) },
			"Clear":     func(string) { a.Clear() },
		} {
			must(t, a, name)
			must(t, b, name)
			p.say(name, errBad)
			revoke(name)
			time.Sleep(time.Millisecond) // the order within an instant is unknown
			denied(t, a, name)
			denied(t, b, name)
			denied(t, replica(t, p, tier), name)
		}
	})
}

// Nobody else knows of a tag that was revoked before the verdict was asked for, so that
// is as good as new.
func TestTagOfANewVerdict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier), replica(t, p, tier)
		must(t, a, "x")
		require.NoError(t, a.RevokeTag(t.Context(), "x"))
		time.Sleep(time.Millisecond) // the order within an instant is unknown
		must(t, b, "x")
		require.Equal(t, 2, p.asks("x"))
		must(t, a, "x")
		must(t, replica(t, p, tier), "x")
		require.Equal(t, 2, p.asks("x"), "it is shared")
		_, ok := b.Peek("x")
		require.True(t, ok)
	})
}

func TestDenialIsNotSharedAndRevokes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier), replica(t, p, tier)
		p.say("bad", errBad)
		denied(t, a, "bad")
		require.Zero(t, tier.Stats().Puts, "denials never go there")
		must(t, b, "x")
		must(t, a, "x")
		time.Sleep(time.Minute) // for b it expires; for a nothing is renewed yet
		must(t, a, "x")
		p.say("x", errBad)
		b.Revoke("x")
		denied(t, b, "x")
		synctest.Wait()
		denied(t, a, "x")
		require.Zero(t, tier.Stats().Kept)
		denied(t, b, "x")
		require.Equal(t, 1, p.asks("bad"))
	})
}

// A login that was slow must not be kept after its credential was revoked elsewhere.
func TestLoadThatWasRevokedElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{took: time.Second}, ttlcachetest.NewTier()
		linkA := tier.Link()
		a, b := replica(t, p, linkA), replica(t, p, tier)
		slow := get(t.Context(), a, "x")
		time.Sleep(500 * time.Millisecond)
		linkA.Cut(true) // a does not hear of it
		b.Revoke("x")
		time.Sleep(400 * time.Millisecond)
		linkA.Cut(false)
		_, err := slow.wait()
		require.NoError(t, err)
		require.Zero(t, tier.Stats().Puts)
		require.Zero(t, tier.Stats().Kept)
	})
}

// Warm agents behind newcomers: the tier takes no place of MaxLoads.
func TestTierIsAskedOutsideOfMaxLoads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		for i := range 800 {
			must(t, a, fmt.Sprint("agent", i))
		}
		p.took = time.Second
		tier.Delay(time.Millisecond)
		b := replica(t, p, tier)
		for i := range 100 {
			get(t.Context(), b, fmt.Sprint("newcomer", i))
		}
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		var agents []*call
		for i := range 800 {
			agents = append(agents, get(t.Context(), b, fmt.Sprint("agent", i)))
		}
		for _, g := range agents {
			_, err := g.wait()
			require.NoError(t, err)
		}
		require.Less(t, time.Since(began), 100*time.Millisecond)
		time.Sleep(time.Minute)
	})
}

// deaf is a tier that does not heed its context.
type deaf struct{ ttlcache.Tier }

func (d deaf) Get(context.Context, [32]byte) ([]byte, time.Duration, uint64, error) {
	time.Sleep(time.Hour)
	return nil, 0, 0, nil
}

func (d deaf) Revoke(context.Context, ttlcache.Revocation) error {
	time.Sleep(time.Hour)
	return nil
}

func TestSlowTier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		c := replica(t, p, tier)
		must(t, c, "warm up")
		tier.Delay(time.Second)
		for i := range 5 {
			began := time.Now()
			must(t, c, fmt.Sprint(i))
			require.Equal(t, 50*time.Millisecond, time.Since(began))
		}
		began := time.Now()
		for i := range 100 {
			must(t, c, fmt.Sprint("b", i))
		}
		require.Zero(t, time.Since(began), "after five failures nobody waits for it")
		require.Positive(t, c.Stats().TierFailed)
		tier.Delay(0)
		time.Sleep(10 * time.Second)
		must(t, c, "z")
		must(t, replica(t, p, tier), "z")
		require.Equal(t, 1, p.asks("z"), "it is asked again when it has recovered")
	})
}

func TestTierThatIgnoresItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		c := replica(t, p, deaf{tier})
		began := time.Now()
		must(t, c, "x")
		require.Equal(t, 50*time.Millisecond, time.Since(began))
		began = time.Now()
		c.Revoke("x")
		require.Equal(t, 50*time.Millisecond, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, c.RevokeContext(ctx, "x"), context.DeadlineExceeded)
		c.Close()
		time.Sleep(2 * time.Hour)
	})
}

// With a tier that is down the cache is as without one.
func TestTierDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		tier.Down(true)
		c := replica(t, p, tier)
		must(t, c, "first")
		time.Sleep(time.Second)
		began := time.Now()
		for i := range 100 {
			must(t, c, fmt.Sprint(i))
			must(t, c, fmt.Sprint(i))
		}
		require.Zero(t, time.Since(began))
		require.EqualValues(t, 101, c.Stats().Loads)
		p.say("1", errBad)
		require.True(t, c.Revoke("1"))
		denied(t, c, "1")
		tier.Down(false)
		time.Sleep(5 * time.Second)
		must(t, c, "again")
		must(t, replica(t, p, tier), "again")
		require.Equal(t, 1, p.asks("again"))
	})
}

func TestNoHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		link := tier.Link()
		a := replica(t, p, tier)
		b := replica(t, p, link, func(c *settings) { c.MaxStale = time.Hour })
		must(t, a, "x")
		must(t, b, "x")
		must(t, b, "own")
		link.Cut(true)
		p.say("x", errBad)
		p.say("own", errAway)
		require.True(t, a.Revoke("x"))
		time.Sleep(ttlcache.MaxLag)
		_, ok := b.Peek("x")
		require.False(t, ok)
		denied(t, b, "x")
		must(t, b, "own")
		require.Equal(t, 2, p.asks("x"))
		require.Equal(t, 1, p.asks("own"), "what it has asked for itself is as without a tier")
	})
}

func TestNoHeartbeatServesNothingStale(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		link := tier.Link()
		a := replica(t, p, tier)
		b := replica(t, p, link, func(c *settings) { c.MaxStale = time.Hour })
		must(t, a, "x")
		must(t, b, "x")
		link.Cut(true)
		p.say("x", errAway)
		time.Sleep(ttlcache.MaxLag)
		_, err := b.Get(t.Context(), "x")
		require.ErrorIs(t, err, errAway)
		link.Cut(false)
		synctest.Wait()
		must(t, b, "x")
	})
}

func TestLostMemoryRevokesEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		must(t, a, "x")
		tier.Flush()
		synctest.Wait()
		must(t, a, "x")
		require.Equal(t, 2, p.asks("x"))
		must(t, replica(t, p, tier), "x")
		require.Equal(t, 2, p.asks("x"))
	})
}

// A copy that lags behind still has what was revoked.
func TestStaleCopyOfTheTier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		link := tier.Link()
		a, b := replica(t, p, tier), replica(t, p, link)
		must(t, a, "x")
		link.Lag(true)
		a.Revoke("x")
		synctest.Wait()
		must(t, b, "x")
		require.Equal(t, 2, p.asks("x"))
	})
}

func TestTierSeesNeitherTokenNorVerdict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		must(t, replica(t, p, tier), "the-token")
		tier.Tamper(func(kept map[[32]byte][]byte) {
			require.Len(t, kept, 1)
			for k, sealed := range kept {
				require.NotContains(t, string(k[:])+string(sealed), "token")
				require.NotContains(t, string(sealed), "user")
			}
		})
	})
}

func TestMovedSwappedAndForgedVerdicts(t *testing.T) {
	for name, tamper := range map[string]func(kept map[[32]byte][]byte){
		"swapped": func(kept map[[32]byte][]byte) {
			var keys [][32]byte
			for k := range kept {
				keys = append(keys, k)
			}
			kept[keys[0]], kept[keys[1]] = kept[keys[1]], kept[keys[0]]
		},
		"forged": func(kept map[[32]byte][]byte) {
			for k := range kept {
				kept[k] = []byte(`"user of root"`)
			}
		},
		"at another place in the log": func(kept map[[32]byte][]byte) {
			for k := range kept {
				kept[k][1] ^= 0x80
			}
		},
	} {
		bubble(t, func(t *testing.T) {
			p, tier := &provider{}, ttlcachetest.NewTier()
			a := replica(t, p, tier)
			must(t, a, "x")
			must(t, a, "y")
			tier.Tamper(tamper)
			var seen sync.Map
			b := replica(t, p, tier, func(c *settings) {
				c.OnEvent = func(e ttlcache.Event) {
					if e.Kind == ttlcache.TierFailed {
						seen.Store(e.Err.Error(), true)
					}
				}
			})
			must(t, b, "x")
			must(t, b, "y")
			require.Equal(t, 2, p.asks("x"), name)
			_, told := seen.Load("ttlcache: what the tier keeps was not sealed under Config.Secret for this credential")
			require.True(t, told, name)
			must(t, replica(t, p, tier), "x")
			require.Equal(t, 2, p.asks("x"), "%s: the next answer takes its place", name)
		})
	}
}

// Who may write to the store can bring back what was revoked, but not for those who have
// heard of it, or hear of it when they start.
func TestReplayedVerdict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier), replica(t, p, tier)
		must(t, a, "x")
		old := make(map[[32]byte][]byte)
		tier.Tamper(func(kept map[[32]byte][]byte) {
			maps.Copy(old, kept)
		})
		p.say("x", errBad)
		a.Revoke("x")
		tier.Tamper(func(kept map[[32]byte][]byte) {
			maps.Copy(kept, old)
		})
		synctest.Wait()
		denied(t, b, "x")
		denied(t, replica(t, p, tier), "x")
	})
}

func TestLifeIsTheQuestions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{took: 5 * time.Second}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		must(t, a, "x") // 55 s left
		time.Sleep(20 * time.Second)
		b := replica(t, p, tier)
		must(t, b, "x")
		time.Sleep(35*time.Second - 1)
		_, ok := b.Peek("x")
		require.True(t, ok)
		time.Sleep(time.Nanosecond)
		_, ok = b.Peek("x")
		require.False(t, ok, "a minute after the question")
	})
}

// Each replica judges the credential's own end by its own configuration.
func TestExpiresIsJudgedByTheReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		must(t, replica(t, p, tier), "x")
		end := time.Now().Add(10 * time.Second)
		b := replica(t, p, tier, func(c *settings) { c.Expires = func(string) time.Time { return end } })
		must(t, b, "x")
		require.Equal(t, 1, p.asks("x"))
		time.Sleep(10 * time.Second)
		_, ok := b.Peek("x")
		require.False(t, ok)
		short := replica(t, p, tier, func(c *settings) { c.TTL = 5 * time.Second })
		must(t, short, "x")
		require.Equal(t, 2, p.asks("x"), "too old for this one")
	})
}

func TestTierIsOfOneSecretAndOneCodec(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		must(t, a, "x")
		must(t, replica(t, p, tier, func(c *settings) { c.Secret = []byte(strings.Repeat("other", 8)) }), "x")
		require.Equal(t, 2, p.asks("x"))
		must(t, replica(t, p, tier, func(c *settings) { c.Codec.Version = 2 }), "x")
		require.Equal(t, 3, p.asks("x"), "of an unknown version")
	})
}

func TestCodecAndTagsThatFail(t *testing.T) {
	for name, change := range map[string]func(*settings){
		"decode": func(c *settings) {
			c.Codec = ttlcache.Codec[string]{
				Encode: func(v string) ([]byte, error) { return []byte(v), nil },
				Decode: func([]byte) (string, error) { return "", errAway },
			}
		},
		"encode": func(c *settings) {
			c.Codec = ttlcache.Codec[string]{
				Encode: func(string) ([]byte, error) { return nil, errAway },
				Decode: func(b []byte) (string, error) { return string(b), nil },
			}
		},
		"panics": func(c *settings) {
			c.Codec = ttlcache.Codec[string]{
				Encode: func(v string) ([]byte, error) { return []byte(v), nil },
				Decode: func([]byte) (string, error) { panic("decode") },
			}
		},
		"encode panics": func(c *settings) {
			c.Codec = ttlcache.Codec[string]{
				Encode: func(string) ([]byte, error) { panic("encode") },
				Decode: func(b []byte) (string, error) { return string(b), nil },
			}
		},
		"tags panic": func(c *settings) { c.Tags = func(string) []string { panic("tags") } },
	} {
		bubble(t, func(t *testing.T) {
			p, tier := &provider{}, ttlcachetest.NewTier()
			must(t, replica(t, p, tier, change), "x")
			b := replica(t, p, tier, change)
			must(t, b, "x")
			require.Equal(t, 2, p.asks("x"), name)
		})
	}
}

func TestRevokeThatCannotReachTheTier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		link := tier.Link()
		a, b := replica(t, p, link), replica(t, p, tier)
		must(t, a, "x")
		must(t, b, "x")
		must(t, b, "y")
		must(t, b, "z")
		p.say("x", errBad)
		p.say("y", errBad)
		link.Cut(true)
		began := time.Now()
		require.ErrorIs(t, a.RevokeContext(t.Context(), "x"), context.DeadlineExceeded)
		require.Equal(t, ttlcache.MaxLag, time.Since(began), "it has its own end")
		p.say("z", errBad)
		require.Error(t, a.RevokeContext(t.Context(), "z"))
		began = time.Now()
		a.Revoke("y")
		require.LessOrEqual(t, time.Since(began), 50*time.Millisecond)
		denied(t, a, "x")
		must(t, b, "x")
		link.Cut(false)
		time.Sleep(2 * time.Second)
		denied(t, b, "x")
		denied(t, b, "y")
		denied(t, b, "z")
	})
}

// What cannot be told one by one is everything.
func TestRevocationsThatPileUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		link := tier.Link()
		a, b := replica(t, p, link), replica(t, p, tier)
		must(t, b, "x")
		must(t, a, "x")
		p.say("x", errBad)
		link.Cut(true)
		time.Sleep(ttlcache.MaxLag)
		for i := range 5000 {
			a.Revoke(fmt.Sprint(i))
		}
		a.Revoke("x")
		link.Cut(false)
		time.Sleep(3 * time.Second)
		denied(t, b, "x")
		require.Less(t, tier.Stats().Revoked, uint64(20))
	})
}

// A flood of bad credentials must not fill the log.
func TestFloodOfDenials(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier, func(c *settings) {
			c.Denied = func(error) bool { return true }
		})
		for i := range 5000 {
			p.say(fmt.Sprint(i), errBad)
			denied(t, a, fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		keys := 0
		ctx, cancel := context.WithCancel(t.Context())
		_ = tier.Follow(ctx, func(r ttlcache.Revocation, _ uint64) {
			keys += len(r.Keys)
			if !r.All && len(r.Keys) == 0 {
				cancel()
			}
		})
		require.LessOrEqual(t, keys, 2*256, "what the outbox holds, as it was first emptied and at the end")
		require.Positive(t, keys)
		denied(t, a, "4999")
		require.Equal(t, 1, p.asks("4999"), "hearing of its own denials forgets none")
	})
}

func TestWaitersOfALookup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{took: time.Second}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		must(t, a, "warm up")
		tier.Delay(20 * time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		alone := get(ctx, a, "alone")
		first := get(ctx, a, "joined")
		second := get(t.Context(), a, "joined")
		synctest.Wait()
		cancel()
		_, err := alone.wait()
		require.ErrorIs(t, err, context.Canceled)
		_, err = first.wait()
		require.ErrorIs(t, err, context.Canceled)
		_, err = second.wait()
		require.NoError(t, err)
		require.Zero(t, p.asks("alone"), "nobody waited any more")
		require.EqualValues(t, 1, a.Stats().Joined)
	})
}

func TestRenewalIsShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		renew := func(c *settings) { c.Refresh = 0.5 }
		a, b := replica(t, p, tier, renew), replica(t, p, tier, renew)
		for range 100 {
			must(t, a, "x")
			time.Sleep(time.Second)
			must(t, b, "x")
			time.Sleep(2 * time.Second)
		}
		asks := p.asks("x")
		require.InDelta(t, 10, asks, 2, "300 s, a renewal every 30 s, and not one for each")
	})
}

func TestCloseEndsSharing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		must(t, a, "x")
		b := replica(t, p, tier)
		must(t, b, "x")
		b.Close()
		b.Close()
		must(t, b, "x")
		require.Equal(t, 2, p.asks("x"), "nobody would tell it of a revocation")
		require.ErrorIs(t, b.RevokeContext(t.Context(), "x"), context.Canceled)
		ttlcache.New(p.load, settings{}).Close()
	})
}

func TestWaitTier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		tier.Down(true)
		a := replica(t, p, tier)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, a.WaitTier(ctx), context.DeadlineExceeded)
		tier.Down(false)
		require.NoError(t, a.WaitTier(t.Context()))
		require.NoError(t, a.WaitTier(ctx), "it has heard")
		tier.Down(true)
		b := replica(t, p, tier)
		b.Close()
		require.ErrorIs(t, b.WaitTier(t.Context()), context.Canceled)
		require.NoError(t, ttlcache.New(p.load, settings{}).WaitTier(t.Context()))
	})
}

func TestTierClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, tier)
		must(t, a, "x")
		tier.Close()
		time.Sleep(time.Minute)
		must(t, a, "x")
	})
}

func TestConfigOfATier(t *testing.T) {
	p, tier := &provider{}, ttlcachetest.NewTier()
	require.PanicsWithValue(t, "ttlcache: New: Config.Secret has 0 bytes, not at least 32 as a Tier needs", func() {
		ttlcache.New(p.load, settings{Tier: tier})
	})
	require.Panics(t, func() { ttlcache.New(p.load, settings{Tier: tier, Secret: make([]byte, 31)}) })
	require.Panics(t, func() {
		ttlcache.New(func(context.Context, string) (hidden, error) { return hidden{}, nil },
			ttlcache.Config[string, hidden]{Tier: tier, Secret: aSecret})
	})
	require.NotPanics(t, func() { ttlcache.New(p.load, settings{Secret: make([]byte, 1)}) })
	require.Panics(t, func() { _ = ttlcache.New(p.load, settings{}).RevokeTag(t.Context(), "x") })
}

func TestTagsWithoutATier(t *testing.T) {
	p := &provider{}
	c := ttlcache.New(p.load, settings{TTL: time.Minute, Tags: func(v string) []string { return strings.Fields(v) }})
	must(t, c, "x")
	must(t, c, "y")
	require.NoError(t, c.RevokeTag(t.Context(), "x"))
	require.NoError(t, c.RevokeContext(t.Context(), "z"))
	_, ok := c.Peek("x")
	require.False(t, ok)
	_, ok = c.Peek("y")
	require.True(t, ok)
}

// Three caches in real time, for the race detector.
func TestReplicasAtOnce(t *testing.T) {
	p, tier := &provider{}, ttlcachetest.NewTier()
	var caches []*ttlcache.Cache[string, string]
	for range 3 {
		caches = append(caches, replica(t, p, tier, func(c *settings) { c.Refresh, c.TTL = 0.5, 20*time.Millisecond }))
	}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			c, rnd := caches[i%3], random(uint64(i))
			for n := range 2000 {
				token := fmt.Sprint(rnd.IntN(20))
				switch {
				case n%50 == 0:
					c.Revoke(token)
				case n%333 == 0:
					_ = c.RevokeTag(t.Context(), token)
				case n%777 == 0:
					tier.Flush()
				default:
					_, err := c.Get(t.Context(), token)
					require.True(t, err == nil || errors.Is(err, ttlcache.ErrRevoked), err)
				}
			}
		})
	}
	all.Wait()
}

// unrevoked is a tier that cannot be told of revocations.
type unrevoked struct{ ttlcache.Tier }

func (unrevoked) Revoke(context.Context, ttlcache.Revocation) error { return errAway }

// What the cache itself has revoked does not come back from a tier that does not know.
func TestRevokedHereAndNotInTheTier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a := replica(t, p, unrevoked{tier})
		for name, revoke := range map[string]func(token string){
			"Revoke":     func(token string) { a.Revoke(token) },
			"RevokeFunc": func(token string) { a.RevokeFunc(func(v string) bool { return v == "user of "+token }) },
			"Clear":      func(string) { a.Clear() },
		} {
			must(t, a, name)
			time.Sleep(time.Second)
			revoke(name)
			must(t, a, name)
			require.Equal(t, 2, p.asks(name), name)
		}
	})
}
