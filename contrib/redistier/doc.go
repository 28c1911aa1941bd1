// Package redistier is a ttlcache.Tier on Redis or Valkey, 7.0 or later: replicas of one
// server share the verdicts of their identity provider, and a revocation on one of them
// reaches all.
//
// # Usage
//
//	tier, err := redistier.New(redistier.Config{
//		Option: rueidis.ClientOption{InitAddress: []string{"redis:6379"}},
//	})
//	if err != nil {
//		return err
//	}
//	defer tier.Close()
//	cache := ttlcache.New(load, ttlcache.Config[string, User]{
//		TTL: time.Minute, Tier: tier, Secret: secret, // 32 bytes, the same on all replicas
//	})
//	defer cache.Close()
//
// [New] does not dial: a server starts and runs without Redis, as one that has no tier.
// [Tier.Check] connects at once and reports a fault. Call it to know of faults before the
// server starts.
//
// # Keys in Redis
//
// All keys have one hash tag, the prefix, so they are in one slot of a cluster.
//
//	{ttlcache}:v:DIGEST   a sealed verdict, until it expires
//	{ttlcache}:l:DIGEST   a lease, for a minute
//	{ttlcache}:log        a stream, the revocations of the last hour
//	{ttlcache}:era        which memory this is, and the last position that was given
//	{ttlcache}:replicas   a sorted set, see [Tier.Replicas]
//
// DIGEST is HMAC-SHA256 of a credential under the secret. Sealed values are encrypted and
// authenticated under it. A client that may read or write in Redis learns no credential
// and no verdict, and forges none. A client that may write can delete, and revoke.
//
// # Permissions
//
// A user of its own needs the keys and these commands; [Tier.Check] names a missing one.
//
//	~{ttlcache}:* +eval +evalsha +info +time +hget +hmget +hset +exists +get +set +pttl
//	+del +xadd +xlen +xtrim +xrange +xrevrange +xread +client +hello +ping +zadd +zrem
//	+zcard +zremrangebyscore +pexpire
//
// # Failures
//
// Redis may evict any key (allkeys-lru): a value that is gone is a miss, a lease that is
// gone refuses the answer, and a log that is gone revokes everything. With maxmemory
// reached and noeviction, kept values are still found, revocations are still carried out,
// and nothing is added.
//
// Redis that restarts or fails over revokes everything: the last revocations may be lost
// with it, since replication and the append-only file are asynchronous. So does a log that
// a replica cannot follow without a gap.
//
// After a failover the old master goes on for the servers that still reach it, and knows no
// revocation of the new one. Set min-replicas-to-write 1 and min-replicas-max-lag 1 where
// there is a failover: such a master then gives no heartbeat, and verdicts that came through
// it are served no longer.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. A [Tier] has the goroutines of
// its client, from the first use to Close; with a cluster whose nodes have changed, two of
// them sleep for up to five seconds longer.
package redistier
