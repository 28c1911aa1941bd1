package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

var errUnknown = errors.New("unknown token")

// whoIs stands for a call to an identity provider.
func whoIs(_ context.Context, token string) (string, error) {
	users := map[string]string{"t0k3n": "ada", "s3cr3t": "grace"}
	user, ok := users[token]
	if !ok {
		return "", errUnknown
	}
	return user, nil
}

func Example() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{
		TTL:     time.Minute,
		Denied:  func(err error) bool { return errors.Is(err, errUnknown) },
		DenyTTL: 2 * time.Second,
	})
	ctx := context.Background()
	for _, token := range []string{"t0k3n", "t0k3n", "guess", "guess"} {
		user, err := cache.Get(ctx, token)
		fmt.Printf("%q %v\n", user, err)
	}
	s := cache.Stats()
	fmt.Println(s.Loads, "loads,", s.Hits, "hit,", s.DeniedHits, "denied hit")
	// Output:
	// "ada" <nil>
	// "ada" <nil>
	// "" unknown token
	// "" unknown token
	// 2 loads, 1 hit, 1 denied hit
}

func ExampleNew() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	fmt.Println(cache.Get(context.Background(), "t0k3n"))
	// Output: ada <nil>
}

func ExampleConfig() {
	// What a provider needs that answers 50 a second, for clients that wait up to 30s
	// between attempts and a server that waits 5s for the verdict.
	config := ttlcache.Config[string, string]{
		TTL:         time.Minute, // more than 30s + 5s, and enough for 50×60 live tokens
		Denied:      func(err error) bool { return errors.Is(err, errUnknown) },
		DenyTTL:     2 * time.Second,  // a new token is not locked out for long
		MaxStale:    10 * time.Minute, // of an outage that nobody notices
		Refresh:     0.8,              // agents that are busy never wait
		MaxLoads:    10,               // at once; the provider answers each in 200ms
		LoadTimeout: 5 * time.Second,
	}
	cache := ttlcache.New(whoIs, config)
	fmt.Println(cache.Get(context.Background(), "s3cr3t"))
	// Output: grace <nil>
}

// A credential of several parts needs a Key, which names them one by one.
func ExampleHash() {
	type basic struct {
		user, password string
		tenant         uint64
	}
	load := func(_ context.Context, b basic) (string, error) {
		return fmt.Sprintf("%s of tenant %d", b.user, b.tenant), nil
	}
	cache := ttlcache.New(load, ttlcache.Config[basic, string]{
		TTL: time.Minute,
		Key: func(h *ttlcache.Hash, b basic) {
			h.String(b.user)
			h.String(b.password)
			h.Uint64(b.tenant)
		},
	})
	fmt.Println(cache.Get(context.Background(), basic{"ada", "x", 7}))
	fmt.Println(cache.Get(context.Background(), basic{"adax", "", 7}))
	// Output:
	// ada of tenant 7 <nil>
	// adax of tenant 7 <nil>
}

func ExampleHash_Bytes() {
	load := func(_ context.Context, der []byte) (int, error) { return len(der), nil }
	cache := ttlcache.New(load, ttlcache.Config[[]byte, int]{
		TTL: time.Minute,
		Key: func(h *ttlcache.Hash, der []byte) { h.Bytes(der) }, // of a client certificate
	})
	fmt.Println(cache.Get(context.Background(), []byte{0x30, 0x82}))
	// Output: 2 <nil>
}

func ExampleCache_Get() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{
		TTL:    time.Minute,
		Denied: func(err error) bool { return errors.Is(err, errUnknown) },
	})
	fmt.Println(cache.Get(context.Background(), "t0k3n"))
	fmt.Println(cache.Get(context.Background(), "guess"))
	// Output:
	// ada <nil>
	//  unknown token
}

func ExampleCache_Status() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{
		TTL:    time.Minute,
		Denied: func(err error) bool { return errors.Is(err, errUnknown) },
	})
	for _, token := range []string{"t0k3n", "guess"} {
		_, err := cache.Get(context.Background(), token)
		fmt.Println(cache.Status(err))
	}
	fmt.Println(cache.Status(ttlcache.ErrOverloaded))
	// Output:
	// 200 0s
	// 401 0s
	// 503 1s
}

// Middleware that asks by itself fills a cache that has no load.
func ExampleNoLoad() {
	cache := ttlcache.New(ttlcache.NoLoad, ttlcache.Config[string, string]{TTL: time.Minute})
	asked := time.Now()
	_, known := cache.Peek("t0k3n")
	if !known {
		cache.Put("t0k3n", "ada", asked)
	}
	fmt.Println(cache.Peek("t0k3n"))
	// Output: ada true
}

// The roles of a user have changed: the next Get asks again.
func ExampleCache_Expire() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	_, _ = cache.Get(context.Background(), "t0k3n")
	fmt.Println(cache.Expire(func(user string) bool { return user == "ada" }))
	fmt.Println(cache.Peek("t0k3n"))
	fmt.Println(cache.Get(context.Background(), "t0k3n"))
	// Output:
	// 1
	//  false
	// ada <nil>
}

// Three replicas share a provider that answers 30 at once; then one of them dies.
func ExampleCache_SetMaxLoads() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute, MaxLoads: 30 / 3})
	cache.SetMaxLoads(30 / 2)
	fmt.Println(cache.Get(context.Background(), "t0k3n"))
	// Output: ada <nil>
}

func ExampleCache_Peek() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	fmt.Println(cache.Peek("t0k3n"))
	_, _ = cache.Get(context.Background(), "t0k3n")
	fmt.Println(cache.Peek("t0k3n"))
	// Output:
	//  false
	// ada true
}

// A login has just asked the provider. Its answer saves the first request a lookup.
func ExampleCache_Put() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	asked := time.Now() // before the question, not after the answer
	token, user := "n3w", "ada"
	fmt.Println(cache.Put(token, user, asked))
	fmt.Println(cache.Get(context.Background(), token))
	// Output:
	// true
	// ada <nil>
}

// A verdict from before a revocation does not slip in after it.
func ExampleCache_Revoke() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	asked := time.Now()
	_, _ = cache.Get(context.Background(), "t0k3n")
	fmt.Println(cache.Revoke("t0k3n"), cache.Revoke("t0k3n"))
	fmt.Println(cache.Put("t0k3n", "ada", asked))
	// Output:
	// true false
	// false
}

func ExampleCache_RevokeFunc() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	for _, token := range []string{"t0k3n", "s3cr3t"} {
		_, _ = cache.Get(context.Background(), token)
	}
	fmt.Println(cache.RevokeFunc(func(user string) bool { return user == "ada" }))
	fmt.Println(cache.Len())
	// Output:
	// 1
	// 1
}

func ExampleCache_Clear() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	_, _ = cache.Get(context.Background(), "t0k3n")
	cache.Clear()
	fmt.Println(cache.Len())
	// Output: 0
}

func ExampleCache_Len() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	_, _ = cache.Get(context.Background(), "t0k3n")
	_, _ = cache.Get(context.Background(), "guess") // an error is not kept without Denied
	fmt.Println(cache.Len())
	// Output: 1
}

func ExampleStats() {
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{TTL: time.Minute})
	for range 4 {
		_, _ = cache.Get(context.Background(), "t0k3n")
	}
	s := cache.Stats()
	fmt.Printf("%.0f %% hits, %d entries\n", 100*float64(s.Hits)/float64(s.Hits+s.DeniedHits+s.Misses), s.Entries)
	// Output: 75 % hits, 1 entries
}

// Counters for a metrics library.
func ExampleEvent() {
	counts := make(chan ttlcache.Kind, 10) // OnEvent is called from several goroutines
	cache := ttlcache.New(whoIs, ttlcache.Config[string, string]{
		TTL:     time.Minute,
		Denied:  func(err error) bool { return errors.Is(err, errUnknown) },
		OnEvent: func(e ttlcache.Event) { counts <- e.Kind },
	})
	_, _ = cache.Get(context.Background(), "t0k3n")
	fmt.Println(<-counts)
	_, _ = cache.Get(context.Background(), "guess")
	fmt.Println(<-counts)
	cache.Revoke("t0k3n")
	fmt.Println(<-counts)
	// Output:
	// loaded
	// denied
	// revoked
}

func ExampleKind() {
	fmt.Println(ttlcache.Shed, ttlcache.Stale)
	// Output: shed stale
}

// A load that panics is an error, for those who wait and for nobody else.
func ExamplePanicError() {
	cache := ttlcache.New(func(context.Context, string) (string, error) {
		panic("nil map")
	}, ttlcache.Config[string, string]{TTL: time.Minute})
	_, err := cache.Get(context.Background(), "t0k3n")
	var panicked *ttlcache.PanicError
	if errors.As(err, &panicked) {
		fmt.Println(panicked.Value, len(panicked.Stack) > 0)
	}
	// Output: nil map true
}
