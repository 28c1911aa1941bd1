package redistier_test

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/connhygiene/connhygiene/contrib/redistier"
	"github.com/connhygiene/connhygiene/ttlcache"
)

type User struct{ Name string }

// What the package comment shows. The tests run it with a Redis of their own.
var _ = func(load func(context.Context, string) (User, error), secret []byte) error {
	tier, err := redistier.New(redistier.Config{
		Option: rueidis.ClientOption{InitAddress: []string{"redis:6379"}},
	})
	if err != nil {
		return err
	}
	defer tier.Close()
	cache := ttlcache.New(load, ttlcache.Config[string, User]{
		TTL: time.Minute, Tier: tier, Secret: secret, // 32 bytes, the same on all replicas
	})
	defer cache.Close()
	return nil
}
