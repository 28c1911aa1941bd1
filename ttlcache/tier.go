package ttlcache

import (
	"context"
	"errors"
	"time"
)

// A Tier is a memory that several caches share, such as the replicas of one server:
// set [Config.Tier]. It sees digests and sealed bytes, never credentials or verdicts.
// All methods may be called from any number of goroutines, and each returns when its
// ctx is done.
//
// The module contrib/redistier has one for Redis and Valkey, and the package
// ttlcachetest one in memory.
//
// A Tier keeps a log of the revocations. Each entry has a position, and later entries
// have greater ones. A lease is a position too: it lies after the revocations that came
// before it, and before those that come after.
type Tier interface {
	// Get returns the bytes that are kept under key and how much longer they may be
	// used. Nil bytes without an error are a miss. The lease entitles the caller to Put
	// an answer to a question that it asks from now on. With bytes, a lease of zero is
	// none, and any other one entitles the caller to replace them.
	Get(ctx context.Context, key [32]byte) (sealed []byte, left time.Duration, lease uint64, err error)

	// Put keeps sealed under key for left. It returns an error that is [ErrNoLease], and
	// keeps nothing, if since the lease was given key was revoked, everything was
	// revoked, or the tier has lost some of its memory.
	Put(ctx context.Context, key [32]byte, lease uint64, sealed []byte, left time.Duration) error

	// Revoke ends the values under the keys of r, or all values, with all leases on them
	// that were given before, and appends r to the log. For tags the log is all it does:
	// each cache looks at the tags of the verdicts that it finds. If Revoke returns an
	// error, r may have been carried out or not.
	Revoke(ctx context.Context, r Revocation) error

	// Follow calls f, on its own goroutine, for every entry of the log that is still kept
	// and then for each new one, in order, with its position. It begins with All at the
	// position from which on the log is complete. Where entries are missing, because the
	// tier has lost its memory or dropped some of the log, it calls f with All.
	//
	// A Revocation of nothing is a heartbeat: every revocation that was finished half a
	// second ago has been told to f. One comes at least every half second, and none comes
	// while the tier cannot be reached.
	//
	// Follow returns when ctx is done, with an error when it cannot go on, and nil when
	// the tier has been closed. After an error the caller may call it again.
	Follow(ctx context.Context, f func(r Revocation, at uint64)) error
}

// A Revocation says which verdicts hold no longer. The zero Revocation revokes nothing.
type Revocation struct {
	Keys [][32]byte // Keys are digests of credentials.
	Tags [][32]byte // Tags are digests of tags, see [Config.Tags].
	All  bool       // All revokes every verdict.
}

// ErrNoLease is the error of a [Tier] whose Put was too late: the key was revoked since
// the lease was given, or the tier has lost it. It is no failure of the tier.
var ErrNoLease = errors.New("ttlcache: the tier knows no such lease")

// MaxLag is how long a revocation may take to reach the other caches that share a
// [Tier]. A cache that has had no heartbeat for so long does not serve verdicts
// that came through the tier.
const MaxLag = 2 * time.Second
