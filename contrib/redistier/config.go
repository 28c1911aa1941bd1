package redistier

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Config says where a [Tier] is, and how long it keeps leases and revocations. Option is
// required.
type Config struct {
	// Option is how to connect: addresses, credentials, TLS, a cluster or sentinels. Its
	// InitAddress is required. Client-side caching is switched off, and where they are zero
	// Dialer.Timeout is 1s and ConnWriteTimeout 3s, so that a server that vanished is soon
	// found again.
	Option rueidis.ClientOption

	// Prefix begins the name of every key, and is the hash tag in a cluster. Servers that
	// share verdicts have the same. It must not contain a brace. Empty means "ttlcache".
	Prefix string

	// Lease is how long a load may take for its answer to be kept. Zero and less mean
	// one minute.
	Lease time.Duration

	// Keep is how long a revocation stays in the log: at least the longest life of a
	// verdict, or a replica that starts cannot use the oldest ones. Zero and less mean
	// one hour.
	Keep time.Duration
}

const (
	defaultPrefix = "ttlcache"
	defaultLease  = time.Minute
	defaultKeep   = time.Hour
)

// resolve returns c with its defaults.
func (c Config) resolve() (Config, error) {
	if len(c.Option.InitAddress) == 0 {
		return c, errors.New("redistier: New: Config.Option.InitAddress is empty")
	}
	if strings.ContainsAny(c.Prefix, "{}") {
		return c, fmt.Errorf("redistier: New: Config.Prefix %q contains a brace", c.Prefix)
	}
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.Lease <= 0 {
		c.Lease = defaultLease
	}
	if c.Keep <= 0 {
		c.Keep = defaultKeep
	}
	c.Option.DisableCache = true
	if c.Option.Dialer.Timeout == 0 {
		c.Option.Dialer.Timeout = time.Second
	}
	if c.Option.ConnWriteTimeout == 0 {
		c.Option.ConnWriteTimeout = 3 * time.Second
	}
	return c, nil
}
