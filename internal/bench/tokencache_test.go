package bench_test

import (
	"container/heap"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sync/singleflight"
)

// tokenCache has the structure of the Kubernetes API server's token cache, written
// anew from its description: an HMAC-SHA256 from a pool as the key, a map without a
// bound behind striped locks, a heap of ends in each stripe, and one load at a time
// for each key on a goroutine of its own.
type tokenCache struct {
	ttl     time.Duration
	hashes  sync.Pool
	stripes [32]stripe
	loads   singleflight.Group
}

type stripe struct {
	mu      sync.RWMutex // guards the fields below
	entries map[string]tokenEntry
	ends    ends
}

type tokenEntry struct {
	verdict string
	end     time.Time
}

func newTokenCache(ttl time.Duration) *tokenCache {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	c := &tokenCache{ttl: ttl, hashes: sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}
	for i := range c.stripes {
		c.stripes[i].entries = map[string]tokenEntry{}
	}
	return c
}

// key is what a token is remembered by. The length comes first, so that several
// parts could not be confused. As in the original, no bytes are copied to turn
// strings into slices and back.
func (c *tokenCache) key(token string) string {
	h := c.hashes.Get().(hash.Hash)
	h.Reset()
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(token)))
	h.Write(length[:])
	h.Write(unsafe.Slice(unsafe.StringData(token), len(token)))
	sum := h.Sum(nil)
	c.hashes.Put(h)
	return unsafe.String(&sum[0], len(sum))
}

// stripeOf is FNV-1a.
func (c *tokenCache) stripeOf(key string) *stripe {
	sum := uint32(2166136261)
	for i := range len(key) {
		sum = (sum ^ uint32(key[i])) * 16777619
	}
	return &c.stripes[sum%uint32(len(c.stripes))]
}

func (c *tokenCache) lookup(key string) (string, bool) {
	s := c.stripeOf(key)
	s.mu.RLock()
	e, ok := s.entries[key]
	s.mu.RUnlock()
	return e.verdict, ok && time.Now().Before(e.end)
}

func (c *tokenCache) get(token string) (string, bool) { return c.lookup(c.key(token)) }

func (c *tokenCache) set(token, verdict string) { c.store(c.key(token), verdict) }

func (c *tokenCache) store(key, verdict string) {
	now := time.Now()
	s := c.stripeOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ends) > 0 && !now.Before(s.ends[0].at) {
		gone := heap.Pop(&s.ends).(tokenEnd)
		if e, ok := s.entries[gone.key]; ok && !now.Before(e.end) {
			delete(s.entries, gone.key)
		}
	}
	s.entries[key] = tokenEntry{verdict, now.Add(c.ttl)}
	heap.Push(&s.ends, tokenEnd{key, now.Add(c.ttl)})
}

// fetch is what a request does. Whoever leaves early leaves the load alone.
func (c *tokenCache) fetch(ctx context.Context, token string, load loadFunc) (string, error) {
	key := c.key(token)
	if verdict, ok := c.lookup(key); ok {
		return verdict, nil
	}
	result := c.loads.DoChan(key, func() (verdict any, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		v, err := load(ctx, token)
		if err == nil {
			c.store(key, v)
		}
		return v, err
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// ends is a heap, the next one first.
type ends []tokenEnd

type tokenEnd struct {
	key string
	at  time.Time
}

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(tokenEnd)) }

func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
