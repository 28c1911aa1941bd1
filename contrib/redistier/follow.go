package redistier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/connhygiene/connhygiene/ttlcache"
)

const (
	beatEvery  = 200 * time.Millisecond
	beatWithin = 250 * time.Millisecond // an answer that took longer says too little about now
	giveUp     = time.Second            // without an answer
	batch      = 500                    // entries of the log that are read at once
)

// Follow implements ttlcache.Tier. Once it has heard from Redis it goes on after every
// loss of the connection, until ctx or the tier ends. Before that it returns why it could
// not connect.
func (t *Tier) Follow(ctx context.Context, f func(r ttlcache.Revocation, at uint64)) error {
	ctx, end := t.during(ctx)
	defer end()
	w := follower{tier: t, tell: f}
	for wait := beatEvery; ; wait = min(2*wait, giveUp) {
		heard := w.heard
		err := w.follow(ctx)
		switch {
		case t.ctx.Err() != nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case w.heard == 0:
			return err
		case w.heard > heard:
			wait = beatEvery / 2
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// A follower is how far one Follow has come.
type follower struct {
	tier   *Tier
	tell   func(ttlcache.Revocation, uint64)
	era    string
	cursor uint64 // of the last entry told
	told   uint64 // all entries up to here have been
	heard  int    // answers to beats
}

// follow goes on over one connection until that ends.
func (w *follower) follow(ctx context.Context) error {
	client, ctx, done, err := w.tier.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	conn, release := client.Dedicate()
	defer release()
	defer conn.Close() // what has not been answered must not answer somebody else
	if err := w.tier.checkVersion(ctx, conn); err != nil {
		return err
	}
	for {
		began := time.Now()
		if err := w.beat(ctx, conn); err != nil {
			return err
		}
		for left := beatEvery; left > 0; left = beatEvery - time.Since(began) {
			if err := w.wait(ctx, conn, left); err != nil {
				return err
			}
		}
	}
}

// beat finds out where the log is, tells what is missing, and then that all is told.
func (w *follower) beat(ctx context.Context, conn rueidis.DedicatedClient) error {
	within, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	sent, names := time.Now(), &w.tier.names
	reply, err := conn.Do(within, conn.B().Eval().Script(beatScript).Numkeys(2).Key(names.era, names.log).Build()).AsStrSlice()
	if err != nil {
		return fmt.Errorf("redistier: follow: %w", err)
	}
	if len(reply) != 4 {
		return errReply
	}
	era, last, now := reply[0], number(reply[1]), number(reply[2])
	complete := max(number(reply[3]), now-min(now, ticks(w.tier.config.Keep)))
	switch {
	case era != w.era:
		w.era, w.cursor = era, 0
		w.tell(ttlcache.Revocation{All: true}, complete)
	case complete > w.told:
		w.tell(ttlcache.Revocation{All: true}, complete)
	}
	for w.cursor < last {
		if err := w.read(within, conn); err != nil {
			return err
		}
	}
	w.told = now
	w.heard++
	if time.Since(sent) <= beatWithin {
		w.tier.clock.beat.Store(&reading{now, sent})
		w.tell(ttlcache.Revocation{}, now)
	}
	return nil
}

// read tells the next entries that are there.
func (w *follower) read(ctx context.Context, conn rueidis.DedicatedClient) error {
	from := "(" + position(w.cursor) + "-0"
	entries, err := conn.Do(ctx, conn.B().Xrange().Key(w.tier.names.log).Start(from).End("+").Count(batch).Build()).AsXRange()
	if err != nil {
		return fmt.Errorf("redistier: follow: %w", err)
	}
	if len(entries) == 0 {
		return fmt.Errorf("redistier: follow: the log has changed") // lost meanwhile: the next beat knows
	}
	w.pass(entries)
	return nil
}

// wait tells the next entries as soon as they come, or returns after left.
func (w *follower) wait(ctx context.Context, conn rueidis.DedicatedClient, left time.Duration) error {
	within, cancel := context.WithTimeout(ctx, left+giveUp)
	defer cancel()
	block := max(1, left.Milliseconds())
	news, err := conn.Do(within, conn.B().Xread().Count(batch).Block(block).Streams().
		Key(w.tier.names.log).Id(position(w.cursor)+"-0").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("redistier: follow: %w", err)
	}
	w.pass(news[w.tier.names.log])
	return nil
}

func (w *follower) pass(entries []rueidis.XRangeEntry) {
	for _, e := range entries {
		id, _, _ := strings.Cut(e.ID, "-")
		w.cursor = number(id)
		w.tell(ttlcache.Revocation{
			Keys: split(e.FieldValues["k"]),
			Tags: split(e.FieldValues["t"]),
			All:  e.FieldValues["a"] != "",
		}, w.cursor)
	}
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64) // zero is before everything
	return n
}

// Check connects and reports the fault, if there is one: a wrong address or password, a
// server older than 7.0, a user that may not do all that the tier does. It uses a key of its
// own, which is gone when it returns. A server whose memory is full is no fault.
func (t *Tier) Check(ctx context.Context) error {
	client, ctx, done, err := t.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	conn, release := client.Dedicate()
	defer release()
	defer conn.Close()
	if err := t.checkVersion(ctx, conn); err != nil {
		return err
	}
	w := follower{tier: t, tell: func(ttlcache.Revocation, uint64) {}}
	if err := w.beat(ctx, conn); err != nil {
		return err
	}
	if err := w.wait(ctx, conn, 0); err != nil {
		return err
	}
	return t.try(ctx)
}

// try does with a key of its own what a cache does.
func (t *Tier) try(ctx context.Context) error {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	_, _, lease, err := t.Get(ctx, key)
	if err != nil {
		return err
	}
	if lease != 0 { // there is memory
		err = t.Put(ctx, key, lease, nil, time.Second)
	}
	if err != nil && !errors.Is(err, ttlcache.ErrNoLease) { // Redis has lost it meanwhile
		return err
	}
	return t.Revoke(ctx, ttlcache.Revocation{Keys: [][32]byte{key}})
}

// oldest is the first version with flags of scripts.
const oldest = 7

// checkVersion asks by a script with a key of ours, which any version takes: in a cluster
// INFO alone would bind the connection to any node, and the next command be refused.
func (t *Tier) checkVersion(ctx context.Context, conn rueidis.DedicatedClient) error {
	within, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	info, err := conn.Do(within, conn.B().Eval().Script("return redis.call('INFO', 'server')").Numkeys(1).Key(t.names.log).Build()).ToString()
	if err != nil {
		return fmt.Errorf("redistier: info: %w", err)
	}
	return versionOf(info)
}

func versionOf(info string) error {
	_, version, found := strings.Cut(info, "redis_version:")
	version, _, _ = strings.Cut(version, "\r")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); !found || err != nil || n < oldest {
		return fmt.Errorf("redistier: the server is version %q; it takes Redis %d.0 or Valkey", version, oldest)
	}
	return nil
}
