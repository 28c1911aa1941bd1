package ttlcache_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

func forAnHour(c *settings) { c.DenyTTL = time.Hour }

// Each replica tells the tier of its denials, and hears of those of the others. That undoes
// no denial, or replicas would undo those of each other in turns.
func TestDenialsOfReplicasStay(t *testing.T) {
	for name, valid := range map[string]bool{"never valid": false, "valid before": true} {
		bubble(t, func(t *testing.T) {
			p, tier := &provider{}, ttlcachetest.NewTier()
			a, b := replica(t, p, tier, forAnHour), replica(t, p, tier, forAnHour)
			if valid {
				must(t, a, "x")
				must(t, b, "x")
				time.Sleep(time.Minute)
			}
			p.say("x", errBad)
			asked := p.asks("x")
			for range 20 {
				denied(t, a, "x")
				time.Sleep(100 * time.Millisecond)
				denied(t, b, "x")
				time.Sleep(100 * time.Millisecond)
			}
			require.Equal(t, 2, p.asks("x")-asked, name)
			require.LessOrEqual(t, tier.Stats().Revoked, uint64(2))
		})
	}
}

// A revocation on another replica, or a gap in the log, ends a denial: the credential may
// be valid now.
func TestDenialEndsWithARevocationElsewhere(t *testing.T) {
	for name, revoke := range map[string]func(t *testing.T, b *ttlcache.Cache[string, string], tier *ttlcachetest.Tier){
		"Revoke": func(t *testing.T, b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { b.Revoke("x") },
		"RevokeContext": func(t *testing.T, b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) {
			require.NoError(t, b.RevokeContext(t.Context(), "x"))
		},
		"Clear":       func(_ *testing.T, b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { b.Clear() },
		"lost memory": func(_ *testing.T, _ *ttlcache.Cache[string, string], tier *ttlcachetest.Tier) { tier.Flush() },
	} {
		bubble(t, func(t *testing.T) {
			p, tier := &provider{}, ttlcachetest.NewTier()
			a, b := replica(t, p, tier, forAnHour), replica(t, p, tier, forAnHour)
			p.say("x", errBad)
			denied(t, a, "x")
			time.Sleep(time.Second)
			denied(t, a, "x")
			require.Equal(t, 1, p.asks("x"))
			p.say("x", nil)
			revoke(t, b, tier)
			time.Sleep(time.Millisecond) // the order within an instant is unknown
			v, err := a.Get(t.Context(), "x")
			require.NoError(t, err, name)
			require.Equal(t, "user of x", v)
		})
	}
}

// A flood of denials is no revocation of tags: a verdict with any tags is shared. This one has
// so many that each bit of what is remembered of revoked tags would stop it.
func TestDenialsRevokeNoTags(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		tags := make([]string, 1<<17)
		for i := range tags {
			tags[i] = fmt.Sprint(i)
		}
		tagged := func(c *settings) { c.Tags = func(string) []string { return tags } }
		a, b := replica(t, p, tier, tagged), replica(t, p, tier, tagged)
		must(t, a, "x")
		p.say("bad", errBad)
		denied(t, a, "bad")
		time.Sleep(time.Second)
		must(t, b, "x")
		require.Equal(t, 1, p.asks("x"))
	})
}

// A slowLogin is a provider whose answers are those of when it was asked.
type slowLogin struct {
	asked atomic.Int64
	bad   atomic.Bool
}

func (l *slowLogin) load(context.Context, string) (string, error) {
	l.asked.Add(1)
	bad := l.bad.Load()
	time.Sleep(time.Second)
	if bad {
		return "", errBad
	}
	return "ada", nil
}

// What is under way when the log tells of something is as what is known: a revocation
// stops every answer, and a denial elsewhere a positive one only.
func TestLogStopsAnswersUnderWay(t *testing.T) {
	for name, test := range map[string]struct {
		bad   bool // the first answer
		tell  func(b *ttlcache.Cache[string, string], tier *ttlcachetest.Tier)
		asked int64
	}{
		"denial, Revoke":            {true, func(b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { b.Revoke("x") }, 2},
		"denial, Clear":             {true, func(b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { b.Clear() }, 2},
		"denial, lost memory":       {true, func(_ *ttlcache.Cache[string, string], tier *ttlcachetest.Tier) { tier.Flush() }, 2},
		"denial, denied there":      {true, func(b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { _, _ = b.Get(context.Background(), "x") }, 1},
		"positive, denied there":    {false, func(b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { _, _ = b.Get(context.Background(), "x") }, 2},
		"positive, Revoke":          {false, func(b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { b.Revoke("x") }, 2},
		"positive, lost memory":     {false, func(_ *ttlcache.Cache[string, string], tier *ttlcachetest.Tier) { tier.Flush() }, 2},
		"positive, another's, tags": {false, func(b *ttlcache.Cache[string, string], _ *ttlcachetest.Tier) { b.Revoke("y") }, 1},
	} {
		bubble(t, func(t *testing.T) {
			tier := ttlcachetest.NewTier()
			var login slowLogin
			refuses := &provider{verdicts: map[string]error{"x": errBad}}
			a := ttlcache.New(login.load, settings{TTL: time.Minute, Denied: isBad, DenyTTL: time.Hour, Tier: tier, Secret: aSecret})
			defer a.Close()
			b := replica(t, refuses, tier)
			time.Sleep(time.Second)
			login.bad.Store(test.bad)
			g := get(t.Context(), a, "x")
			time.Sleep(100 * time.Millisecond)
			login.bad.Store(!test.bad)
			test.tell(b, tier)
			_, err := g.wait()
			require.EqualValues(t, test.asked, login.asked.Load(), name)
			require.Equal(t, test.bad == (test.asked == 1), err != nil, name)
		})
	}
}

// More keys than the outbox may hold are everything, whether the tier can be told at once
// or later, and no entry of the log holds more.
func TestNoEntryOfTheLogIsTooLarge(t *testing.T) {
	const many, most = 5000, 4096
	for name, cut := range map[string]bool{"at once": false, "later": true} {
		bubble(t, func(t *testing.T) {
			p, tier := &provider{}, ttlcachetest.NewTier()
			link := tier.Link()
			a, b := replica(t, p, link), replica(t, p, tier)
			must(t, b, "of another one")
			for i := range many {
				must(t, a, fmt.Sprint(i))
			}
			p.say("of another one", errBad)
			link.Cut(cut)
			require.Equal(t, many, a.RevokeFunc(func(string) bool { return true }))
			if cut {
				time.Sleep(ttlcache.MaxLag)
				for i := range many {
					a.Revoke(fmt.Sprint(i))
				}
				link.Cut(false)
			}
			time.Sleep(3 * time.Second)
			denied(t, b, "of another one")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			all := 0
			_ = tier.Follow(ctx, func(r ttlcache.Revocation, _ uint64) {
				require.LessOrEqual(t, len(r.Keys)+len(r.Tags), most, name)
				if r.All {
					all++
				}
				if !r.All && len(r.Keys)+len(r.Tags) == 0 {
					cancel()
				}
			})
			require.GreaterOrEqual(t, all, 2, "the one with which Follow begins, and that of the revocation")
		})
	}
}

// Just as many as may be are told one by one.
func TestLargestEntryOfTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, tier := &provider{}, ttlcachetest.NewTier()
		a, b := replica(t, p, tier), replica(t, p, tier)
		must(t, b, "of another one")
		for i := range 4096 {
			must(t, a, fmt.Sprint(i))
		}
		must(t, b, "4095")
		require.Equal(t, 4096, a.RevokeFunc(func(string) bool { return true }))
		synctest.Wait()
		_, ok := b.Peek("of another one")
		require.True(t, ok)
		_, ok = b.Peek("4095")
		require.False(t, ok)
	})
}
