package ttlcache

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// Config configures a [Cache]. The zero value is valid for credentials whose kind is
// string: it stores nothing, but coalesces loads and limits how many run at once.
//
// C is the type of a credential, such as a token. V is the type of a positive verdict,
// such as the user that the token belongs to.
//
// The fields are in the order in which they are needed: a first configuration sets Denied,
// DenyTTL, TTL and MaxLoads.
type Config[C, V any] struct {
	// Denied reports whether an error of the load is a denial: "this credential is bad",
	// and not "I do not know". A denial ends a positive verdict at once, and MaxStale
	// never serves over it. Errors of contexts, panics and errors of this package are
	// never offered to Denied, so they are no denials. Denied runs on the goroutine of
	// the load, and of the caller of [Cache.Status]. Nil means that no error is a denial:
	// then each attempt with a bad credential asks the authenticator.
	Denied func(error) bool

	// DenyTTL is how long a denial is remembered (negative caching), counted from when the
	// authenticator was asked. Zero or below remembers none. Keep it to seconds: a
	// credential that becomes valid meanwhile stays denied. Without Denied it has no
	// effect.
	DenyTTL time.Duration

	// TTL is the longest life of a positive verdict, counted from when the authenticator
	// was asked. Zero or below stores none: loads are still coalesced and limited.
	TTL time.Duration

	// MaxLoads is how many loads run at once, over all credentials: the number of requests
	// that the authenticator can work on. Zero means 32, a negative value no limit.
	// [Cache.SetMaxLoads] changes it.
	MaxLoads int

	// LoadTimeout bounds one load, including the time in the queue. Zero means 15s, a
	// negative value no bound. A load that ignores the end of its context keeps its slot of
	// MaxLoads until it returns, but its callers get an error that is [ErrLoadTimeout].
	LoadTimeout time.Duration

	// Key writes the parts that identify a credential. Everything that decides about the
	// verdict must be in it: if a token is valid for one host, the host as well; if the
	// load reads a tenant from its context, that tenant. Callers with equal keys share a
	// load, which has the context values of the first of them. Nil is allowed only if the
	// kind of C is string, and means that string. Key runs on the goroutine of the caller,
	// must not keep h, and should not allocate. A Key that writes nothing makes Get return
	// [ErrNoKey].
	Key func(h *Hash, c C)

	// Expires returns when a credential ends by itself, such as the exp claim of a JWT.
	// Its verdict ends then or after TTL, whichever comes first. The zero time and
	// time.Unix(0, 0), which is an exp that is absent, mean no end. Get still returns a verdict
	// whose end has passed, but does not store it: let the load return an error if that
	// is a denial. Expires runs on the goroutine of the load or of the Put. Nil means
	// that no credential ends by itself.
	Expires func(V) time.Time

	// MaxStale is how much longer the last positive verdict is served while loads fail
	// without a verdict or are not admitted, but never past Expires. After such a failure
	// the credential is not asked about for a second, then two, and so on up to
	// LoadTimeout. Zero or below serves none. MaxStale needs Denied, since without it
	// a denial would look like a failure. If the authenticator hangs, callers wait for
	// LoadTimeout before they get the stale verdict: set StaleAfter as well.
	MaxStale time.Duration

	// StaleAfter is how long a caller waits for a load if there is a verdict that MaxStale
	// allows to serve: then the caller gets that verdict, and the load goes on. It should be
	// shorter than the deadline of the callers. Zero or below lets callers wait for the
	// load. It needs MaxStale.
	StaleAfter time.Duration

	// Refresh is the share of a verdict's life after which a hit renews it in the
	// background. Zero or below renews nothing ahead of time; with 1 or above New panics.
	Refresh float64

	// OnEvent is called for everything that happens other than hits, for logs and metrics.
	// It is called outside all locks, on the goroutine that [Kind] names. It should not
	// panic; a panic is dropped, since it must not cost a verdict. Nil is called for
	// nothing.
	OnEvent func(Event)

	// Tier is the memory that this cache shares with others, such as those of the other
	// replicas of one server: positive verdicts, so that a restart is no cold cache, and
	// revocations.
	// It is asked before the load, outside of MaxLoads and with a time-out of 50 ms. At most 64
	// lookups are under way, and more wait for half a second at most. If it is slow or
	// away, the cache is as without it. The caches must have the same Secret, the same Key
	// and the same meaning of V. With a Tier the cache follows its log on a goroutine: call
	// [Cache.Close] in the end. Nil shares nothing.
	Tier Tier

	// Secret keeps the tier from reading, forging or moving verdicts: at least 32 random
	// bytes, the same for all caches that share the Tier. A cache with another one finds
	// none of their verdicts, and hears of no revocation of theirs but those of everything.
	// Without Tier it has no effect.
	Secret []byte

	// Codec turns verdicts into bytes for the Tier. Zero is JSON. Without Tier it has no
	// effect.
	Codec Codec[V]

	// Tags returns the names by which a verdict can be revoked, such as its user and organisation,
	// see [Cache.RevokeTag]. It must be quick and safe for concurrent use, and runs on the
	// goroutines of loads, of RevokeTag, and of the one that follows the Tier. Nil means
	// that there are no tags.
	Tags func(V) []string

	// The fields below are rarely needed.

	// MaxEntries is how many positive verdicts and known credentials are kept. A credential
	// is known if it had a positive verdict, also after that has ended. Zero means 65536. With
	// a negative value New panics: an auth cache without a bound is a way to exhaust memory.
	MaxEntries int

	// MaxDenied is how many denials are kept, apart from MaxEntries. Zero means 4096. With a
	// negative value New panics.
	MaxDenied int

	// MaxQueue is how many loads wait for a slot of MaxLoads; beyond it Get returns an error
	// that is [ErrOverloaded] (load shedding). Loads that cannot be expected to end within
	// LoadTimeout, or before the deadlines of their callers, are not queued. Zero means
	// 4096, a negative value no limit.
	MaxQueue int

	// Reserved is how many of MaxLoads are kept for known credentials, and is less than
	// MaxLoads. They are lent to strangers while no known credential is due to be asked
	// about again, as after a restart. Zero means a quarter of MaxLoads, a negative value
	// none.
	Reserved int

	// Jitter is the share of a verdict's life that is random, so that verdicts of one moment
	// do not all expire in another: a life is drawn from (TTL×(1−Jitter), TTL]. Zero means
	// 0.1, a negative value none, and above 1 New panics. Jitter only shortens a life.
	Jitter float64
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

// check panics if the configuration contradicts itself. All but Denied has been resolved.
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
