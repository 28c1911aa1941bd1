// Package ttlcache is an auth cache: it remembers what an authenticator said
// about a credential, for a bounded time, and stays upright when thousands of
// clients ask at once, when somebody floods it with bad credentials, and when the
// authenticator is away.
//
// A [Cache] stands between a server and its identity provider. [Cache.Get] answers
// from memory or loads, and at most [Config.MaxLoads] loads run at once over all
// credentials, not only over one.
//
// # Usage
//
//	cache := ttlcache.New(func(ctx context.Context, token string) (User, error) {
//		return idp.Introspect(ctx, token)
//	}, ttlcache.Config[string, User]{TTL: time.Minute})
//
//	user, err := cache.Get(r.Context(), token)
//
// # Verdicts and errors
//
// A load that returns no error has given a positive verdict, whatever its value is,
// the zero value included. An error is a verdict only if [Config.Denied] says so:
// then it ends the positive one at once. Every other error says nothing about the
// credential: the authenticator is away, slow or overloaded. A server should answer
// 401 to a denial and 503 to all else. Answering 401 to an overload makes clients
// throw good credentials away.
//
// What Get returns is shared between callers: treat values and errors as read-only.
//
// # How long, and how many
//
// The life of a verdict counts from when the question was asked, and nothing that a
// reader does prolongs it. Two laws decide the numbers:
//
//   - Live credentials <= loads per second × TTL. A provider that answers 50 a
//     second and a TTL of 10 s keep 500 credentials alive; the 501st displaces none,
//     but somebody is always waiting, however large the cache is.
//   - TTL >= the clients' longest delay between attempts + the server's deadline for
//     the auth step. Otherwise a client that gave up waiting finds at its next
//     attempt that its own late verdict has expired.
//
// # Loads
//
// A load belongs to the cache. It runs on a goroutine of its own, with the values
// of the context of the Get that began it but not with its end, for at most
// [Config.LoadTimeout]. Whoever has left meanwhile finds the verdict when coming
// back. A load that is still waiting for its turn is dropped when nobody waits for
// it any more.
//
// A credential that had a positive verdict before is known, also after that has
// expired and as long as [Config.MaxEntries] leaves room. Known credentials wait in
// a queue of their own, ahead of strangers, and [Config.Reserved] loads are theirs
// alone. So a flood of bad credentials does not stop clients from renewing.
//
// # Revocation
//
// After [Cache.Revoke], [Cache.RevokeFunc] or [Cache.Clear] has returned, no verdict
// is handed out or kept that was asked for before. A load in flight whose answer is
// concerned asks again. All of that holds within the process, and with a [Tier] for
// the caches of other processes that share it.
//
// # Several replicas
//
// The caches of several replicas share a [Tier], such as Redis by the module
// contrib/redistier: set [Config.Tier] and [Config.Secret]. Positive verdicts are looked up
// there before the load, so a restart is no cold cache. Revocations and denials of known
// credentials go through its log to all replicas, usually within milliseconds and at most
// within [MaxLag], and [Cache.RevokeTag] ends all sessions of a user. A cache that is cut
// off for so long asks again for what it had from there; what it has asked for itself is
// as without a tier, and a revocation elsewhere ends that when the log is back. A tier that
// is slow or away costs 50 ms at first, then nothing.
//
// # Credentials
//
// The cache keeps no credential. Its keys are HMAC-SHA256 under a random secret of
// each cache, or one made of [Config.Secret], so neither a heap dump nor a crafted credential helps an attacker.
// What the load and its caller keep is theirs.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. Callbacks run outside
// all locks. A cache has no goroutine while nothing is loading, and needs no Close, unless
// it has a [Tier]: then it follows the log of that until [Cache.Close].
//
// # Expected behaviour of callers
//
// Answer 503 and not 401 to what is no verdict, with the RetryAfter of an error that
// is [ErrOverloaded]. Give the load a client with a time-out, and let it honour its
// context: one that does not keeps its turn. Call Revoke wherever a credential ends
// before its time: at logout, at a change of password, when a user is blocked.
//
// # When not to use it
//
// As a general cache: github.com/maypok86/otter is two to four times quicker on a
// hit, since it keeps its keys and we hash them (docs/BENCHMARKS.md). When tokens are
// verified locally, as signed ones often are: nobody is asked, so there is nobody to
// protect. When a verdict must end in all replicas at the same moment.
//
// # Testing
//
// The cache knows no clock but package time: within a testing/synctest bubble its
// time is the bubble's.
//
// # Compared with
//
// General caches that load, and singleflight, share the loads of one key, and 800
// agents have 800 keys: of six others in docs/BENCHMARKS.md five asked the provider
// 800 times at once, and this one MaxLoads times. They keep denials among verdicts, or
// not at all: with a hundred bad credentials to each good one, at most 1 % of the good
// ones stayed known, and here all. The structure of the Kubernetes API server's token
// cache, which hashes its keys too, has no bound.
package ttlcache
