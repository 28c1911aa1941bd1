// Package ttlcache is an auth cache: it remembers the verdicts of an authenticator on
// credentials for a bounded time. It protects the authenticator from a thundering herd of
// clients, its verdicts from a flood of bad credentials, and the clients from an outage of
// the authenticator.
//
// A [Cache] stands between a server and its identity provider. [Cache.Get] answers from
// memory or by a load, which asks the provider. Request coalescing gives all callers of one
// credential one load; a concurrency limit over all credentials, [Config.MaxLoads], and
// admission control keep the provider from being overloaded; negative caching remembers
// denials, apart from positive verdicts.
//
// # Usage
//
//	cache := ttlcache.New(idp.Introspect, ttlcache.Config[string, User]{
//		Denied:   func(err error) bool { return errors.Is(err, idp.ErrInactive) },
//		DenyTTL:  2 * time.Second,
//		TTL:      time.Minute,
//		MaxLoads: 10, // requests that the provider can work on at once
//	})
//
// And in a handler:
//
//	user, err := cache.Get(r.Context(), token)
//	if code, retryAfter := cache.Status(err); code != http.StatusOK {
//		transport.SetRetryAfter(w.Header(), retryAfter)
//		http.Error(w, http.StatusText(code), code)
//		return
//	}
//
// The package authhttp has the load for RFC 7662 token introspection, and a handler for
// nginx's auth_request and its relatives.
//
// # Verdicts and errors
//
// A load that returns no error has given a positive verdict, with any value, the zero value
// included. An error is a denial only if [Config.Denied] says so. Every other
// error is no verdict: the authenticator is away, slow or overloaded. Answer 401 to a denial
// and 503 to all other errors, as [Cache.Status] does. A 401 for an overload makes clients
// throw good credentials away.
//
// These are easy to get wrong:
//
//   - An introspection endpoint answers 200 with {"active": false} for a bad token. The load
//     must return an error for that, and Denied must report it, or it is a positive verdict.
//   - Without Denied and DenyTTL a bad token costs a request each time that it is tried.
//   - An empty token is a credential like any other. Reject a request without one before
//     Get.
//   - A value that the load takes from its context and Key does not write, such as a
//     tenant, is the one of the first caller: others get a verdict that is not theirs.
//   - MaxStale without StaleAfter helps at once if the authenticator refuses connections,
//     but only after LoadTimeout if it hangs.
//   - The time that [Cache.Put] takes is when the authenticator was asked, read from
//     time.Now by this process before the request: a clock of another machine may be ahead.
//
// Values and errors that Get returns are shared between callers: treat them as read-only.
//
// # Sizing
//
// The life of a verdict counts from when the authenticator was asked, and no reader
// prolongs it. Three laws decide the numbers:
//
//   - Live credentials <= loads per second × TTL. A provider that answers 50 a second and
//     a TTL of 10 s keep 500 credentials alive. With more, some callers always wait, however
//     large the cache is.
//   - TTL >= the longest delay between the attempts of a client + the deadline of the server
//     for the auth step. Otherwise a client that has given up waiting finds, at its next
//     attempt, that its own late verdict has expired.
//   - LoadTimeout >= 2 × the time of a load, better 4 ×. With less, a load that has had to
//     wait at all is cut short.
//
// # Loads and overload
//
// A load belongs to the cache. It runs on a goroutine of its own, with the values of the
// context of the Get that began it but not with its end, for at most [Config.LoadTimeout].
// If its caller has left, the verdict is in memory when the caller comes back. A load that
// is still queued is dropped when its last caller leaves.
//
// The cache measures how long loads take. A load that cannot be expected to end within
// LoadTimeout, or before the deadline of its callers, is shed at once with an error that is
// [ErrOverloaded]; so are new loads while the authenticator hangs. In every minute of an
// overload the cache delivers at least 0.85 of the possible verdicts, also at ten times the
// capacity of the authenticator.
//
// A credential that had a positive verdict before is known, also after that has ended, as
// long as [Config.MaxEntries] leaves room. All others are strangers. Known credentials have
// a queue of their own that goes first, and [Config.Reserved] slots, so that a flood of bad
// credentials does not keep clients from renewing. Strangers have one turn in eight in any
// case, and all slots while no known credential is due.
//
// # Revocation
//
// After [Cache.Revoke], [Cache.RevokeFunc], [Cache.Expire] or [Cache.Clear] has returned, no
// Get returns a verdict that it concerns and that was asked for before. A load in flight
// whose answer it concerns asks again. All of that holds within the process, and with a
// [Tier] for the caches of other processes that share it.
//
// # Several replicas
//
// The caches of several replicas share a [Tier], such as Redis by the module
// contrib/redistier: set [Config.Tier] and [Config.Secret]. Positive verdicts are looked up
// there before the load, so a restart is no cold cache. Revocations and denials of known
// credentials go through its log to all replicas, usually within milliseconds and at most
// within [MaxLag], and [Cache.RevokeTag] ends all sessions of a user. A cache that is cut
// off for so long asks again for verdicts that it had from there; its own verdicts are
// as without a tier, and a revocation elsewhere ends them when the log is back. A tier that
// is slow or away costs 50 ms at first, then nothing.
//
// # Credentials
//
// The cache keeps no credential. Its keys are HMAC-SHA256 under a random secret of each
// cache, or one derived from [Config.Secret], so neither a heap dump nor a crafted
// credential helps an attacker. Values are dropped when they are served no more.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. Callbacks run outside all locks.
// A cache without a [Tier] has no goroutine while nothing is loading, and needs no Close. A
// cache with a Tier follows its log on a goroutine until [Cache.Close].
//
// # Expected behaviour of callers
//
// Give the load a client with a time-out, and let it honour its context: otherwise it keeps
// its slot. Call Revoke wherever a credential ends before its time: at logout, at a change of
// password, when a user is blocked.
//
// # When not to use it
//
// As a general cache: github.com/maypok86/otter is two to four times quicker on a hit, since
// it does not hash its keys (docs/BENCHMARKS.md). For tokens that are verified by their
// signature alone: no authenticator is asked, so none needs protection. A JWT that is also
// looked up, in a revocation list or a policy engine, is a case for this package.
//
// # Testing
//
// The cache knows no clock but package time: within a testing/synctest bubble its time is
// the bubble's. The package ttlcachetest has a provider that is slow, hangs, denies and
// counts.
//
// # Compared with
//
// General caches that load, and singleflight, share the loads of one key, but 800 agents
// have 800 keys: of six others in docs/BENCHMARKS.md five asked the provider 800 times at
// once, and this one MaxLoads times. They keep denials among verdicts, or not at all: with a
// hundred bad credentials to each good one, at most 1 % of the good ones stayed known, and
// here all. The token cache of the Kubernetes API server, which hashes its keys as well, has
// no bound.
package ttlcache
