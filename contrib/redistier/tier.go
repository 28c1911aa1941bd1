package redistier

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

var _ ttlcache.Tier = (*Tier)(nil)

// Get implements ttlcache.Tier, in one round trip.
func (t *Tier) Get(ctx context.Context, key [32]byte) (sealed []byte, left time.Duration, lease uint64, err error) {
	client, ctx, done, err := t.use(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	defer done()
	reply, err := getScript.Exec(ctx, client, t.keys(key), []string{millis(t.config.Lease)}).ToArray()
	if err != nil {
		return nil, 0, 0, t.because("get", err)
	}
	if len(reply) != 3 {
		return nil, 0, 0, errReply
	}
	number, err := reply[0].ToString()
	if err != nil {
		return nil, 0, 0, t.because("get", err)
	}
	if lease, err = strconv.ParseUint(number, 10, 64); err != nil {
		return nil, 0, 0, errReply
	}
	pttl, err := reply[1].AsInt64()
	if err != nil {
		return nil, 0, 0, t.because("get", err)
	}
	if reply[2].IsNil() || pttl == 0 {
		return nil, 0, lease, nil
	}
	text, err := reply[2].ToString()
	if err != nil {
		return nil, 0, 0, t.because("get", err)
	}
	left = time.Duration(pttl) * time.Millisecond
	if pttl < 0 { // somebody made it last; what is sealed knows better
		left = 1<<63 - 1
	}
	return []byte(text), left, lease, nil
}

// because returns err as that of an operation, or that the tier was closed meanwhile.
func (t *Tier) because(operation string, err error) error {
	if t.ctx.Err() != nil {
		return errClosed
	}
	return fmt.Errorf("redistier: %s: %w", operation, err)
}

var errReply = errors.New("redistier: not the answer of our script")

// Put implements ttlcache.Tier.
func (t *Tier) Put(ctx context.Context, key [32]byte, lease uint64, sealed []byte, left time.Duration) error {
	client, ctx, done, err := t.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	if left < time.Millisecond {
		return nil // its life is over
	}
	kept, err := putScript.Exec(ctx, client, t.keys(key),
		[]string{position(lease), string(sealed), millis(left), position(t.clock.latest())}).AsInt64()
	if err != nil {
		return t.because("put", err)
	}
	if kept == 0 {
		return ttlcache.ErrNoLease
	}
	return nil
}

// maxRevoked is how many keys one script revokes: while it runs Redis does nothing else.
const maxRevoked = 500

// Revoke implements ttlcache.Tier. Of more than 500 keys it makes several entries of the
// log.
func (t *Tier) Revoke(ctx context.Context, r ttlcache.Revocation) error {
	for {
		some := r
		some.Keys = r.Keys[:min(len(r.Keys), maxRevoked)]
		if err := t.revoke(ctx, some); err != nil {
			return err
		}
		r.Keys, r.Tags = r.Keys[len(some.Keys):], nil
		if len(r.Keys) == 0 || r.All {
			return nil
		}
	}
}

func (t *Tier) revoke(ctx context.Context, r ttlcache.Revocation) error {
	client, ctx, done, err := t.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	keys := []string{t.names.era, t.names.log}
	for _, k := range r.Keys {
		keys = append(keys, t.keys(k)[2:]...)
	}
	all := "0"
	if r.All {
		all = "1"
	}
	err = revokeScript.Exec(ctx, client, keys, []string{position(ticks(t.config.Keep)), join(r.Keys), join(r.Tags), all, strconv.Itoa(t.maxLog)}).Error()
	if err != nil {
		return t.because("revoke", err)
	}
	return nil
}

// keys returns the keys of the scripts about one credential.
func (t *Tier) keys(key [32]byte) []string {
	name := base64.RawURLEncoding.EncodeToString(key[:])
	return []string{t.names.era, t.names.log, t.names.value + name, t.names.lease + name}
}

func millis(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

func position(n uint64) string { return strconv.FormatUint(n, 10) }

// ticks returns how far positions are apart in d.
func ticks(d time.Duration) uint64 { return 2 * uint64(d.Microseconds()) }

func join(digests [][32]byte) string {
	var b strings.Builder
	for _, d := range digests {
		b.Write(d[:])
	}
	return b.String()
}

func split(joined string) (digests [][32]byte) {
	for len(joined) >= 32 {
		digests = append(digests, [32]byte([]byte(joined[:32])))
		joined = joined[32:]
	}
	return digests
}

// A clock knows about when it is on the server.
type clock struct{ beat atomic.Pointer[reading] }

type reading struct {
	at   uint64    // the position
	sent time.Time // when it was asked for, so it was not later here
}

// slack is how long after it was sent a Put is still welcome.
const slack = 500 * time.Millisecond

// latest returns the position after which a Put that is sent now is too late, or zero if
// it is not known when it is.
func (c *clock) latest() uint64 {
	r := c.beat.Load()
	if r == nil || time.Since(r.sent) > time.Minute {
		return 0
	}
	return r.at + ticks(time.Since(r.sent)+slack)
}
