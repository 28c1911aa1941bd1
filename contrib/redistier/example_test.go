package redistier_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/rueidis"

	"github.com/connhygiene/connhygiene/contrib/redistier"
)

// New dials nobody, so a server starts without Redis.
func ExampleNew() {
	tier, err := redistier.New(redistier.Config{
		Option: rueidis.ClientOption{InitAddress: []string{"redis.example:6379"}, Password: "from a secret"},
		Prefix: "shop-sessions",
	})
	fmt.Println(err)
	tier.Close()

	_, err = redistier.New(redistier.Config{})
	fmt.Println(err)
	// Output:
	// <nil>
	// redistier: New: Config.Option.InitAddress is empty
}

// What all replicas may do together is divided by how many there are. Without Redis the
// limits stay those for the most replicas that there will ever be.
func ExampleTier_Replicas() {
	tier, err := redistier.New(redistier.Config{
		Option: rueidis.ClientOption{InitAddress: []string{"127.0.0.1:1"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tier.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	const atTheProvider, mostReplicas = 60, 10
	limit := atTheProvider / mostReplicas
	err = tier.Replicas(ctx, func(n int) { limit = max(1, atTheProvider/n) })
	fmt.Println(limit, err)
	// Output: 6 context deadline exceeded
}

// A tier that was closed is told from one that is away.
func ExampleTier() {
	tier, err := redistier.New(redistier.Config{
		Option: rueidis.ClientOption{InitAddress: []string{"127.0.0.1:1"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(errors.Is(tier.Check(context.Background()), net.ErrClosed))
	tier.Close()
	fmt.Println(errors.Is(tier.Check(context.Background()), net.ErrClosed))
	// Output:
	// false
	// true
}

// Config wants an address and nothing else.
func ExampleConfig() {
	_, err := redistier.New(redistier.Config{Prefix: "{shop}", Option: rueidis.ClientOption{InitAddress: []string{"redis:6379"}}})
	fmt.Println(err)
	// Output: redistier: New: Config.Prefix "{shop}" contains a brace
}
