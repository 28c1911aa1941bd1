package bench_test

import (
	"context"
	"errors"
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/hashicorp/golang-lru/v2/expirable"
	jellydator "github.com/jellydator/ttlcache/v3"
	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"
	"golang.org/x/sync/singleflight"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// ttl is longer than any test.
const ttl = time.Hour

// errDenied is the verdict on a bad credential.
var errDenied = errors.New("denied")

// denied is that verdict as a value, for caches that remember values only.
const denied = "denied"

type loadFunc func(ctx context.Context, token string) (string, error)

// A store is a cache in use: bare is a look-up without a loader, where there is such a
// thing, fetch asks the loader on a miss.
type store struct {
	bare  func(token string) (string, bool)
	set   func(token, verdict string)
	fetch func(ctx context.Context, token string) (string, error)
	close func()
}

// A cache makes stores for up to n entries.
type cache struct {
	name string
	new  func(n int, load loadFunc) store
}

// remember makes a value of a denial.
func remember(load loadFunc) loadFunc {
	return func(ctx context.Context, token string) (string, error) {
		v, err := load(ctx, token)
		if errors.Is(err, errDenied) {
			return denied, nil
		}
		return v, err
	}
}

func nothing() {}

var caches = []cache{
	{"ours", func(n int, load loadFunc) store { return ourStore(n, load, 0) }},
	{"kubernetes", func(_ int, load loadFunc) store {
		c := newTokenCache(ttl)
		load = remember(load)
		fetch := func(ctx context.Context, token string) (string, error) { return c.fetch(ctx, token, load) }
		return store{c.get, c.set, fetch, nothing}
	}},
	{"otter", func(n int, load loadFunc) store {
		c := otter.Must(&otter.Options[string, string]{
			MaximumSize: n, ExpiryCalculator: otter.ExpiryWriting[string, string](ttl),
		})
		loader := otter.LoaderFunc[string, string](remember(load))
		return store{
			c.GetIfPresent,
			func(token, verdict string) { c.Set(token, verdict) },
			func(ctx context.Context, token string) (string, error) { return c.Get(ctx, token, loader) },
			func() { c.StopAllGoroutines() },
		}
	}},
	{"theine", theineStore},
	{"sturdyc", func(n int, load loadFunc) store {
		c := sturdyc.New[string](n, 64, ttl, 10)
		load = remember(load)
		return store{
			c.Get,
			func(token, verdict string) { c.Set(token, verdict) },
			func(ctx context.Context, token string) (string, error) {
				return c.GetOrFetch(ctx, token, func(ctx context.Context) (string, error) { return load(ctx, token) })
			},
			nothing,
		}
	}},
	{"jellydator", jellydatorStore},
	{"expirable", func(n int, load loadFunc) store { // it has no loader
		c := expirable.NewLRU[string, string](n, nil, ttl)
		load = remember(load)
		return store{
			c.Get,
			func(token, verdict string) { c.Add(token, verdict) },
			func(ctx context.Context, token string) (string, error) {
				if v, ok := c.Get(token); ok {
					return v, nil
				}
				v, err := load(ctx, token)
				if err == nil {
					c.Add(token, v)
				}
				return v, err
			},
			nothing,
		}
	}},
}

// ourStore has room for n verdicts and as many denials as the default is.
func ourStore(n int, load loadFunc, maxLoads int) store {
	c := ttlcache.New(load, ttlcache.Config[string, string]{
		TTL: ttl, MaxEntries: n, MaxLoads: maxLoads, Reserved: -1,
		Denied: func(err error) bool { return errors.Is(err, errDenied) }, DenyTTL: ttl,
	})
	return store{
		func(token string) (string, bool) {
			v, err := c.Get(context.Background(), token)
			return v, err == nil
		},
		func(token, verdict string) { c.Put(token, verdict, time.Now()) },
		c.Get,
		nothing,
	}
}

func theineStore(n int, load loadFunc) store {
	load = remember(load)
	c, err := theine.NewBuilder[string, string](int64(n)).BuildWithLoader(
		func(ctx context.Context, token string) (theine.Loaded[string], error) {
			v, err := load(ctx, token)
			return theine.Loaded[string]{Value: v, Cost: 1, TTL: ttl}, err
		})
	if err != nil {
		panic(err)
	}
	return store{
		func(token string) (string, bool) {
			v, err := c.Get(context.Background(), token)
			return v, err == nil
		},
		func(token, verdict string) { c.SetWithTTL(token, verdict, 1, ttl) },
		c.Get,
		c.Close,
	}
}

// jellydatorStore does not prolong an entry that is read, which is that cache's
// default and would keep a revoked token alive.
func jellydatorStore(n int, load loadFunc) store {
	load = remember(load)
	c := jellydator.New(
		jellydator.WithCapacity[string, string](uint64(n)),
		jellydator.WithTTL[string, string](ttl),
		jellydator.WithDisableTouchOnHit[string, string](),
	)
	return store{
		func(token string) (string, bool) {
			item := c.Get(token)
			if item == nil {
				return "", false
			}
			return item.Value(), true
		},
		func(token, verdict string) { c.Set(token, verdict, jellydator.DefaultTTL) },
		jellydatorFetch(c, load),
		nothing,
	}
}

// jellydatorFetch hands the error of a load past the cache, whose loaders have none.
func jellydatorFetch(c *jellydator.Cache[string, string], load loadFunc) func(context.Context, string) (string, error) {
	var group singleflight.Group
	return func(ctx context.Context, token string) (string, error) {
		var failed error
		loader := jellydator.NewSuppressedLoader(jellydator.LoaderFunc[string, string](
			func(c *jellydator.Cache[string, string], token string) *jellydator.Item[string, string] {
				v, err := load(ctx, token)
				if failed = err; err != nil {
					return nil
				}
				return c.Set(token, v, jellydator.DefaultTTL)
			}), &group)
		item := c.Get(token, jellydator.WithLoader[string, string](loader))
		if item == nil {
			return "", errors.Join(failed, errors.New("no verdict"))
		}
		return item.Value(), nil
	}
}
