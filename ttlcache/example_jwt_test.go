package ttlcache_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// claims are what a JWT says about its bearer.
type claims struct {
	Subject string `json:"sub"`
	Expiry  int64  `json:"exp"` // seconds since 1970; zero is never
}

// end is when the token ends by itself.
func (c claims) end() time.Time {
	if c.Expiry == 0 {
		return time.Time{}
	}
	return time.Unix(c.Expiry, 0)
}

// introspect stands for a provider that knows whether a token was revoked (RFC 7662).
// It checks the signature as well; this one only reads what the token says.
func introspect(_ context.Context, token string) (c claims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, fmt.Errorf("a JWT has three parts, not %d", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(payload, &c)
}

func issue(c claims) string {
	payload, _ := json.Marshal(c)
	return "header." + base64.RawURLEncoding.EncodeToString(payload) + ".signature"
}

// A JWT ends when it says so, however long the cache would remember it.
func Example_jwt() {
	cache := ttlcache.New(introspect, ttlcache.Config[string, claims]{
		TTL:     5 * time.Minute,
		Expires: claims.end,
	})
	now := time.Now()
	for _, token := range []string{
		issue(claims{"ada", now.Add(time.Hour).Unix()}),
		issue(claims{"grace", now.Add(-time.Hour).Unix()}),
	} {
		c, err := cache.Get(context.Background(), token)
		_, remembered := cache.Peek(token)
		fmt.Println(c.Subject, err, remembered)
	}
	// Output:
	// ada <nil> true
	// grace <nil> false
}
