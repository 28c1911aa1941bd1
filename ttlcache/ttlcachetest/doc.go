// Package ttlcachetest has test fixtures for package ttlcache: [Tier], a tier in memory that
// is slow, down, cut off or forgetful, and [CheckTier] for others; and [Provider], an identity
// provider that is slow, hangs, denies and counts, as a load function and as an
// introspection endpoint (RFC 7662).
//
//	idp := ttlcachetest.Provider{Took: time.Second, Parallel: 8}
//	cache := ttlcache.New(idp.Load, ttlcache.Config[string, string]{
//		Denied: ttlcachetest.Denied, DenyTTL: time.Minute, TTL: time.Minute,
//	})
//
// Its time is that of package time: in a testing/synctest bubble a slow provider costs no
// real time.
package ttlcachetest
