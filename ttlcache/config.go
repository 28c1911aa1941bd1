package ttlcache

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// Config says what a [Cache] remembers, how long and how much. The zero value is
// valid for credentials whose kind is string: it stores nothing, but joins and
// bounds loads.
//
// C is the type of a credential, V of what the authenticator says about it.
type Config[C, V any] struct {
	// Key writes what identifies a credential. Whatever decides about the verdict
	// belongs into it: with a token for several hosts, the host as well. Nil is
	// allowed only if the kind of C is string, and means the string. It runs on the
	// goroutine of the caller, must not keep h, and should not allocate: it is the
	// hot path. A Key that writes nothing makes Get return [ErrNoKey].
	Key func(h *Hash, c C)

	// TTL is the longest life of a positive verdict, counted from when the question
	// was asked. Zero and less store none: loads are still joined and bounded.
	TTL time.Duration

	// Jitter is the share of the life that is random, so that verdicts of one moment
	// do not expire in another: a life is drawn from (TTL×(1−Jitter), TTL]. Zero
	// means 0.1, less none, 1 is the most. A life is only ever shortened by it.
	Jitter float64

	// Expires returns when a credential ends by itself, such as the exp claim of a
	// JWT. Its verdict ends then or after TTL, whichever comes first. A zero time is
	// no end. It runs on the goroutine of the load or the Put. Nil means that no
	// credential ends by itself.
	Expires func(V) time.Time

	// Denied reports whether an error of the load is a verdict: "this credential is
	// bad", and not "I do not know". A denial ends a positive verdict at once and is
	// never served over by MaxStale. Errors of contexts and panics are never offered
	// to it. It runs on the goroutine of the load. Nil means that no error is a verdict.
	Denied func(error) bool

	// DenyTTL is how long a denial is remembered, counted from when the question was
	// asked. Zero and less remember none. Keep it to seconds: a credential that
	// becomes valid meanwhile stays denied. Without Denied it has no effect.
	DenyTTL time.Duration

	// MaxStale is how much longer the last positive verdict is served if a load fails
	// without a verdict or is not admitted, though never past Expires. Zero and less
	// serve none. It needs Denied: without it a denial would look like a failure.
	MaxStale time.Duration

	// StaleAfter is how long a caller waits for a credential that has a verdict which
	// MaxStale allows to serve: then it gets that, and the load goes on. Without it, callers
	// wait for LoadTimeout if the authenticator hangs, which is the commonest outage. Zero and
	// less make them wait. It needs MaxStale.
	StaleAfter time.Duration

	// Refresh is the share of a verdict's life after which a hit renews it in the
	// background. Zero and less renew nothing ahead of time; with 1 and more New panics.
	Refresh float64

	// MaxEntries is how many positive verdicts are kept, expired ones among them:
	// those make a credential known. Zero means 65536. Below zero New panics: an auth
	// cache without a bound is a way to exhaust memory.
	MaxEntries int

	// MaxDenied is how many denials are kept, apart from MaxEntries. Zero means 4096.
	// Below zero New panics.
	MaxDenied int

	// MaxLoads is how many loads run at once, over all credentials. Zero means 32,
	// less no limit.
	MaxLoads int

	// MaxQueue is how many loads wait for their turn; beyond it Get returns an error
	// that is [ErrOverloaded]. Zero means 4096, less no limit.
	MaxQueue int

	// Reserved is how many of MaxLoads are kept for known credentials, and less than
	// MaxLoads. Zero means a quarter of MaxLoads, less none.
	Reserved int

	// LoadTimeout bounds one load, the wait for its turn included. Zero means 15s,
	// less no bound. A load that ignores the end of its context keeps its turn until
	// it returns, but nobody waits for it any longer.
	LoadTimeout time.Duration

	// Tier is what this cache shares with others, such as those of the other replicas of
	// one server: positive verdicts, so that a restart is no cold cache, and revocations.
	// It is asked before the load, within 50 ms and outside of MaxLoads; if it is slow or
	// away, the cache is as without it. The caches must have the same Secret, the same Key
	// and the same meaning of V. With a Tier the cache follows its log on a goroutine: call
	// [Cache.Close] in the end. Nil shares nothing.
	Tier Tier

	// Secret keeps the tier from reading, forging or moving verdicts: at least 32 random
	// bytes, the same for all caches that share the Tier. With another one a cache neither
	// finds what these have put nor hears of what they revoke, but everything at once.
	// Without Tier it has no effect.
	Secret []byte

	// Codec turns verdicts into bytes for the Tier. Zero is JSON. Without Tier it has no
	// effect.
	Codec Codec[V]

	// Tags returns what a verdict can be revoked by, such as its user and its organisation,
	// see [Cache.RevokeTag]. It must be quick and safe for concurrent use, and runs on the
	// goroutines of loads, of RevokeTag, and of the one that follows the Tier. Nil means
	// that there are no tags.
	Tags func(V) []string

	// OnEvent is told what happens other than hits, for logs and metrics. It is called
	// outside all locks, on the goroutine that [Kind] names. It should not panic; if it
	// does, that is dropped, for it must not cost a verdict. Nil means nobody is told.
	OnEvent func(Event)
}

const (
	defaultJitter      = 0.1
	defaultMaxEntries  = 65536
	defaultMaxDenied   = 4096
	defaultMaxLoads    = 32
	defaultMaxQueue    = 4096
	defaultLoadTimeout = 15 * time.Second
	reservedShare      = 4
)

// resolve returns c with its defaults, or panics if it contradicts itself.
func (c Config[C, V]) resolve() Config[C, V] {
	if c.Key == nil {
		c.Key = stringKey[C]()
	}
	c.Jitter = max(0, orDefault(c.Jitter, defaultJitter))
	c.Refresh = max(0, c.Refresh)
	c.MaxEntries = orDefault(c.MaxEntries, defaultMaxEntries)
	c.MaxDenied = orDefault(c.MaxDenied, defaultMaxDenied)
	c.MaxLoads = limit(orDefault(c.MaxLoads, defaultMaxLoads))
	c.MaxQueue = limit(orDefault(c.MaxQueue, defaultMaxQueue))
	c.Reserved = reservedOf(c.Reserved, c.MaxLoads)
	c.LoadTimeout = orDefault(c.LoadTimeout, defaultLoadTimeout)
	c.check()
	if c.Tier != nil {
		var err error
		c.Codec, err = c.Codec.resolve()
		if err != nil {
			panic("ttlcache: New: " + err.Error())
		}
	}
	if c.Denied == nil {
		c.Denied = func(error) bool { return false }
	}
	if c.Expires == nil {
		c.Expires = func(V) time.Time { return time.Time{} }
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	return c
}

// check panics on what is no configuration. All but Denied has been resolved.
func (c Config[C, V]) check() {
	need := func(ok bool, format string, args ...any) {
		if !ok {
			panic("ttlcache: New: " + fmt.Sprintf(format, args...))
		}
	}
	need(c.Key != nil, "Config.Key is nil and the kind of %v is not string", reflect.TypeFor[C]())
	need(c.Jitter <= 1, "Config.Jitter is %v, not at most 1", c.Jitter)
	need(c.MaxStale <= 0 || c.Denied != nil, "Config.MaxStale is set without Config.Denied")
	need(c.StaleAfter <= 0 || c.MaxStale > 0, "Config.StaleAfter is set without Config.MaxStale")
	need(c.Refresh < 1, "Config.Refresh is %v, not below 1", c.Refresh)
	need(c.MaxEntries > 0, "Config.MaxEntries is %d, below zero", c.MaxEntries)
	need(c.MaxDenied > 0, "Config.MaxDenied is %d, below zero", c.MaxDenied)
	need(c.Tier == nil || len(c.Secret) >= minSecret, "Config.Secret has %d bytes, not at least %d as a Tier needs", len(c.Secret), minSecret)
	need(c.Reserved < c.MaxLoads, "Config.Reserved is %d, not below MaxLoads, which is %d", c.Reserved, c.MaxLoads)
}

// stringKey returns the Key of credentials that are strings, or nil.
func stringKey[C any]() func(*Hash, C) {
	if reflect.TypeFor[C]().Kind() != reflect.String {
		return nil
	}
	return func(h *Hash, c C) { h.String(reflect.ValueOf(c).String()) }
}

func orDefault[T comparable](v, byDefault T) T {
	var zero T
	if v == zero {
		return byDefault
	}
	return v
}

// limit makes a number that is never reached of a limit that is off.
func limit(n int) int {
	if n < 0 {
		return math.MaxInt
	}
	return n
}

// reservedOf resolves Config.Reserved.
func reservedOf(reserved, maxLoads int) int {
	if maxLoads == math.MaxInt && reserved == 0 {
		return 0
	}
	return max(0, orDefault(reserved, maxLoads/reservedShare))
}
